/** A log as it lies in a storage, which anybody may have written to: what of it is listed, and no more than a log can be. */
import { SyftError } from '../core/errors.ts';
import { segmentKey } from '../log/stored-segment.ts';
import { readSmall, type Cancellable, type ObjectInfo, type Storage } from '../storage/storage.ts';

/** More streams, or objects in one listing, no log has that can be received. */
const MAX_STREAMS = 1000;
const MAX_OBJECTS = 1_000_000;
/** Bytes of format.json, device.json, head.json, checkpoint, seen: readers take no more either. */
const MAX_NOTE = 64 * 1024;

const OBJECT = /^log\/([a-z2-7]{8})\/(.+)$/;
const SEGMENT = /^(\d{20}-\d{6}\.seg)(\.parts\/\d{16})?$/;

export interface ListedStream {
  /** Differs whenever an object of the stream does, tiles left out. */
  readonly key: string;
  /** Names of segments, in order, with the key of the objects of each. */
  readonly segments: ReadonlyMap<string, string>;
  /** Bytes of its segments. */
  readonly bytes: number;
}

function damaged(storage: Storage, what: string): SyftError {
  return new SyftError('LOG_DAMAGED', `${storage.location} ${what}. Nothing is taken from it; look who writes to it.`, {
    path: storage.location
  });
}

/** A small object of a log; `undefined` when there is none. @throws SyftError LOG_DAMAGED when it is too large for what it is. */
export async function readNote(
  storage: Storage,
  name: string,
  options: Cancellable,
  most = MAX_NOTE
): Promise<Buffer | undefined> {
  try {
    return await readSmall(storage, name, most, options);
  } catch (error) {
    if (!(error instanceof SyftError && error.code === 'BAD_REQUEST')) throw error;
    throw damaged(storage, `holds ${name} with more than the ${most} bytes that it can have`);
  }
}

/**
 * Pages of a listing, checked: in order, and coming to an end.
 *
 * @throws SyftError DISK_ERROR when the storage does not list as it should, LOG_DAMAGED when it lists more than a log can have.
 */
async function* pages(
  storage: Storage,
  prefix: string,
  options: Cancellable,
  skip: (name: string) => string | undefined
): AsyncGenerator<ObjectInfo> {
  let count = 0;
  for (let after = ''; ;) {
    const page = await storage.list(prefix, { ...options, ...(after !== '' && { after }) });
    let jump: string | undefined;
    for (const info of page.objects) {
      if (!info.name.startsWith(prefix) || info.name <= after || !Number.isSafeInteger(info.size) || info.size < 0) {
        throw new SyftError('DISK_ERROR', `${storage.location} does not list its objects as a storage must.`, {
          path: storage.location
        });
      }
      count += 1;
      if (count > MAX_OBJECTS) throw damaged(storage, `lists more than ${MAX_OBJECTS} objects`);
      after = info.name;
      jump = skip(info.name);
      if (jump !== undefined) break;
      yield info;
    }
    if (jump !== undefined) after = jump;
    else if (page.next === undefined) return;
    else if (page.next > after) after = page.next;
  }
}

/** The streams of a log. Tiles, of which there are many, are not asked for. */
export async function listStreams(storage: Storage, options: Cancellable): Promise<Map<string, ListedStream>> {
  const found = new Map<string, ObjectInfo[]>();
  // '0' stands behind '/': what comes next is of another stream.
  const past = (name: string): string | undefined => /^(log\/[a-z2-7]{8})\/tile\//.exec(name)?.[1]?.concat('0');
  for await (const info of pages(storage, 'log/', options, past)) {
    const device = OBJECT.exec(info.name)?.[1];
    // What a log does not have is nobody's business.
    if (device === undefined) continue;
    const objects = found.get(device) ?? [];
    objects.push(info);
    found.set(device, objects);
    if (found.size > MAX_STREAMS) throw damaged(storage, `lists more than ${MAX_STREAMS} streams`);
  }
  return new Map([...found].map(([device, objects]) => [device, listed(device, objects)]));
}

function listed(device: string, objects: readonly ObjectInfo[]): ListedStream {
  const segments = new Map<string, ObjectInfo[]>();
  const own: ObjectInfo[] = [];
  for (const info of objects) {
    const rest = OBJECT.exec(info.name)?.[2] ?? '';
    const segment = SEGMENT.exec(rest)?.[1];
    if (segment !== undefined) {
      const name = `log/${device}/${segment}`;
      const pieces = segments.get(name) ?? [];
      pieces.push(info);
      segments.set(name, pieces);
    }
    if (segment !== undefined || !rest.includes('/')) own.push(info);
  }
  return {
    key: segmentKey(own),
    bytes: [...segments.values()].flat().reduce((sum, { size }) => sum + size, 0),
    segments: new Map([...segments].map(([name, pieces]) => [name, segmentKey(pieces)]))
  };
}

/** Tiles of a stream, as they are listed. */
export function listTiles(storage: Storage, stream: string, options: Cancellable): AsyncGenerator<ObjectInfo> {
  return pages(storage, `${stream}/tile/`, options, () => undefined);
}
