/** Both backends pass the suite that others must pass, and the suite catches each way of being wrong that we could think of. */
import { describe, expect, test } from '@jest/globals';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { storageConformance, type PlaceUnderTest } from '../../../server/src/storage/conformance.ts';
import { FsStorage } from '../../../server/src/storage/fs.ts';
import { MemoryStorage } from '../../../server/src/storage/memory.ts';
import type { Body, ObjectInfo, PutOptions, ReadOptions, Storage } from '../../../server/src/storage/storage.ts';
import { SyftError } from '../../../server/src/core/errors.ts';

describe('memory', () => {
  for (const { name, run } of storageConformance(() => ({ storage: new MemoryStorage() }), { largeObject: 0 })) {
    test(name, run);
  }
});

describe('memory with objects that grow', () => {
  const make = (): PlaceUnderTest => ({ storage: new MemoryStorage({ growing: true }) });
  for (const { name, run } of storageConformance(make, { largeObject: 0 })) test(name, run);
});

describe('fs', () => {
  const make = (): PlaceUnderTest => {
    const base = mkdtempSync(join(tmpdir(), 'syft-storage-'));
    const root = join(base, 'place');
    return {
      storage: new FsStorage(root),
      reopen: () => new FsStorage(root),
      dispose: () => rmSync(base, { recursive: true })
    };
  };
  for (const { name, run } of storageConformance(make, { operations: 150 })) test(name, run);
});

/** A sound storage with one thing changed. */
function changed(change: (inner: MemoryStorage) => Partial<Storage>): () => PlaceUnderTest {
  return () => {
    const inner = new MemoryStorage({ growing: true });
    const sound: Storage = {
      location: 'broken',
      listing: 'strong',
      maxObjectSize: inner.maxObjectSize,
      stat: (...all) => inner.stat(...all),
      read: (...all) => inner.read(...all),
      put: (...all) => inner.put(...all),
      append: (name, offset, body, options) =>
        (inner.append as NonNullable<Storage['append']>)(name, offset, body, options),
      list: (...all) => inner.list(...all),
      delete: (...all) => inner.delete(...all)
    };
    return { storage: { ...sound, ...change(inner) } };
  };
}

async function gathered(body: Body): Promise<Buffer> {
  if (body instanceof Uint8Array) return Buffer.from(body);
  const parts: Uint8Array[] = [];
  for await (const piece of body.pieces()) parts.push(Uint8Array.from(piece));
  return Buffer.concat(parts);
}

const broken: Record<string, (inner: MemoryStorage) => Partial<Storage>> = {
  'an object that grows before everybody’s eyes': inner => ({
    async put(name: string, body: Body, options?: PutOptions): Promise<ObjectInfo> {
      const info = await inner.put(name, body, options);
      const { bytes } = await inner.read(name, { offset: 0, length: 8 * 2 ** 20 });
      await inner.put(name, bytes.subarray(0, bytes.length >> 1));
      await new Promise(done => setTimeout(done, 2));
      return bytes.length === 0 ? info : inner.put(name, bytes);
    }
  }),
  'a creation without condition': inner => ({
    put: (name, body, options) => inner.put(name, body, options?.signal && { signal: options.signal })
  }),
  'a creation that looks first and writes later': inner => ({
    async put(name, body, options = {}) {
      if (options.ifAbsent === true && (await inner.stat(name)) !== undefined) {
        throw new SyftError('PRECONDITION_FAILED', 'It is there.');
      }
      return inner.put(name, body, options.signal && { signal: options.signal });
    }
  }),
  'a read that ends too soon': inner => ({
    read: (name, options) => inner.read(name, { ...options, length: Math.min(options.length, 4096) })
  }),
  'a read that is shifted': inner => ({
    read: (name, options) => inner.read(name, { ...options, offset: Math.max(0, options.offset - 1) })
  }),
  'a read that takes any length': inner => ({
    read: (name, options) => inner.read(name, { ...options, length: Math.min(options.length, 8 * 2 ** 20) })
  }),
  'a read that forgets the etag': inner => ({
    read: (name: string, { etag: _etag, ...rest }: ReadOptions) => inner.read(name, rest)
  }),
  'an empty object for what is not there': inner => ({
    read: (name, options) =>
      inner.read(name, options).catch((error: unknown) => {
        if (error instanceof SyftError && error.code === 'NOT_FOUND') {
          return { name, size: 0, etag: '', bytes: new Uint8Array() };
        }
        throw error;
      })
  }),
  'an error without a code': inner => ({
    read: (name, options) =>
      inner.read(name, options).catch((error: unknown) => {
        throw new Error(String(error));
      })
  }),
  'a listing that misses the last of a page': inner => ({
    async list(prefix, options) {
      const page = await inner.list(prefix, options);
      return page.objects.length > 2 ? { ...page, objects: page.objects.slice(0, -1) } : page;
    }
  }),
  'a listing that ends after its first page': inner => ({
    list: async (prefix, options) => ({ objects: (await inner.list(prefix, options)).objects })
  }),
  'a listing by directory, not by name': inner => ({
    async list(prefix, options) {
      const page = await inner.list(prefix, options);
      const key = (name: string): string => name.replaceAll('/', '\0');
      return { ...page, objects: [...page.objects].sort((a, b) => (key(a.name) < key(b.name) ? -1 : 1)) };
    }
  }),
  'a listing that ignores the limit': inner => ({
    list: (prefix, options = {}) => inner.list(prefix, { ...options, limit: Math.max(options.limit ?? 1000, 1000) })
  }),
  'a prefix that must be a directory': inner => ({
    async list(prefix, options) {
      const page = await inner.list(prefix, options);
      if (prefix === '' || prefix.endsWith('/')) return page;
      return { ...page, objects: page.objects.filter(({ name }) => name === prefix || name[prefix.length] === '/') };
    }
  }),
  'a listing of what was deleted': inner => {
    const ghosts = new Map<string, ObjectInfo>();
    return {
      async delete(name, options) {
        const info = await inner.stat(name);
        if (info !== undefined) ghosts.set(name, info);
        await inner.delete(name, options);
      },
      async list(prefix, options) {
        const page = await inner.list(prefix, options);
        const more = [...ghosts.values()].filter(({ name }) => name.startsWith(prefix));
        return { ...page, objects: [...page.objects, ...more].sort((a, b) => (a.name < b.name ? -1 : 1)) };
      }
    };
  },
  'an etag made of the size': inner => {
    const weak = <T extends ObjectInfo>(info: T): T => ({ ...info, etag: String(info.size) });
    return {
      stat: async (name, options) => {
        const info = await inner.stat(name, options);
        return info && weak(info);
      },
      put: async (name, body, options) => weak(await inner.put(name, body, options)),
      list: async (prefix, options) => {
        const page = await inner.list(prefix, options);
        return { ...page, objects: page.objects.map(weak) };
      },
      read: async (name, { etag: _etag, ...rest }) => weak(await inner.read(name, rest))
    };
  },
  'names in any case': inner => ({
    put: (name, body, options) => inner.put(name.toLowerCase(), body, options)
  }),
  'a name that is cleaned up': inner => ({
    stat: (name, options) => inner.stat(name.replaceAll('../', ''), options)
  }),
  'half a content, stored': inner => ({
    async put(name, body, options) {
      return inner.put(name, await gathered(body), options);
    }
  }),
  'a signal that is not heard': inner => ({
    put: (name, body, options) => inner.put(name, body, options?.ifAbsent === true ? { ifAbsent: true } : {})
  }),
  'a delete that does nothing': () => ({ delete: () => Promise.resolve() }),
  'a delete that fails on what is gone': inner => ({
    async delete(name, options) {
      if ((await inner.stat(name)) === undefined) throw new SyftError('NOT_FOUND', 'It is gone.');
      await inner.delete(name, options);
    }
  }),
  'the caller’s bytes, kept': inner => {
    const kept = new Map<string, Uint8Array>();
    return {
      async put(name, body, options) {
        const info = await inner.put(name, body, options);
        if (body instanceof Uint8Array) kept.set(name, body);
        else kept.delete(name);
        return info;
      },
      async read(name, options) {
        const read = await inner.read(name, options);
        const bytes = kept.get(name)?.subarray(options.offset, options.offset + options.length);
        return { ...read, bytes: bytes ?? read.bytes };
      }
    };
  },
  'pieces, kept until the end': inner => ({
    async put(name, body, options) {
      if (body instanceof Uint8Array) return inner.put(name, body, options);
      const parts: Uint8Array[] = [];
      let size = 0;
      for await (const piece of body.pieces()) {
        parts.push(piece);
        size += piece.length;
      }
      if (size !== body.size) throw new SyftError('BAD_REQUEST', 'Another size.');
      return inner.put(name, Buffer.concat(parts), options);
    }
  }),
  'an append that ignores where': inner => ({
    async append(name, _offset, body, options) {
      const size = (await inner.stat(name))?.size ?? 0;
      return (inner.append as NonNullable<Storage['append']>)(name, size, body, options);
    }
  }),
  'an append that makes what is missing': inner => ({
    async append(name, offset, body, options) {
      if ((await inner.stat(name)) === undefined) await inner.put(name, new Uint8Array());
      return (inner.append as NonNullable<Storage['append']>)(name, offset, body, options);
    }
  }),
  'a temporary object that is listed': inner => ({
    async put(name, body, options) {
      if (body instanceof Uint8Array) return inner.put(name, body, options);
      await inner.put(`${name}.part`, new Uint8Array());
      try {
        return await inner.put(name, body, options);
      } finally {
        await inner.delete(`${name}.part`);
      }
    }
  }),
  'the whole of a large object in memory': inner => ({
    maxObjectSize: inner.maxObjectSize
  })
};

/** The check that is there to catch it; others may as well. */
const caughtBy: Record<keyof typeof broken & string, string> = {
  'an object that grows before everybody’s eyes': 'an object is replaced at once',
  'a creation without condition': 'creation leaves what is there',
  'a creation that looks first and writes later': 'of many who create one object exactly one does',
  'a read that ends too soon': 'a range is what was asked for',
  'a read that is shifted': 'a range is what was asked for',
  'a read that takes any length': 'sizes are checked before memory is taken',
  'a read that forgets the etag': 'a read that follows an etag never mixes two objects',
  'an empty object for what is not there': 'what is not there is told from what cannot be had',
  'an error without a code': 'what is not there is told from what cannot be had',
  'a listing that misses the last of a page': 'a listing is complete, in order, in pages',
  'a listing that ends after its first page': 'a listing is complete, in order, in pages',
  'a listing by directory, not by name': 'a listing is complete, in order, in pages',
  'a listing that ignores the limit': 'a listing is complete, in order, in pages',
  'a prefix that must be a directory': 'a listing is complete, in order, in pages',
  'a listing of what was deleted': 'what was deleted is gone',
  'an etag made of the size': 'another content has another etag',
  'names in any case': 'names that are not legal are refused by everything',
  'a name that is cleaned up': 'names that are not legal are refused by everything',
  'half a content, stored': 'a content that ends early, late or badly is not stored',
  'a signal that is not heard': 'what is cancelled ends, and stores nothing',
  'a delete that does nothing': 'what was deleted is gone',
  'a delete that fails on what is gone': 'what is not there is told from what cannot be had',
  'the caller’s bytes, kept': 'bytes belong to one side only',
  'pieces, kept until the end': 'bytes belong to one side only',
  'an append that ignores where': 'objects that grow do so at their end, once',
  'an append that makes what is missing': 'objects that grow do so at their end, once',
  'a temporary object that is listed': 'what is being put is not listed before it is there',
  'the whole of a large object in memory': 'a large object passes in constant memory'
};

test('every broken one has its check', () => {
  expect(Object.keys(caughtBy)).toEqual(Object.keys(broken));
});

test.each(Object.entries(caughtBy))('of %s says the suite: not so, %s', async (name, expected) => {
  const largeObject = expected.startsWith('a large') ? 64 * 2 ** 20 : 0;
  const make = changed(broken[name] as (typeof broken)[string]);
  const due = storageConformance(make, { largeObject }).find(check => check.name === expected);
  await expect(due?.run()).rejects.toThrow();
});

test('the storage that was broken is sound without that', async () => {
  for (const { run } of storageConformance(
    changed(() => ({})),
    { largeObject: 0, operations: 80 }
  )) {
    await run();
  }
});
