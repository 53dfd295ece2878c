/** docs/openapi.json is what the contract says today; an integrator who generates a client from it gets our routes. */
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { readFile } from 'node:fs/promises';
import { routes } from '../../../server/src/api/contract.ts';
import { openApiDocument, openApiText } from '../../../server/src/api/openapi.ts';
import { VERSION } from '../../../server/src/library/version.ts';
import { ask, makeRig, type Rig } from './listed-service.ts';

interface Operation {
  operationId: string;
  summary: string;
  parameters?: { name: string; in: string; schema: unknown }[];
  requestBody?: unknown;
  responses: Record<string, unknown>;
}

const document = openApiDocument(VERSION) as {
  openapi: string;
  paths: Record<string, Record<string, Operation>>;
  components: Record<string, Record<string, unknown>>;
};
const operations = Object.entries(document.paths).flatMap(([path, methods]) =>
  Object.entries(methods).map(([method, operation]) => ({ path, method, operation }))
);

describe('docs/openapi.json', () => {
  test('is up to date (node server/src/api/openapi.ts writes it)', async () => {
    expect(await readFile(new URL('../../../docs/openapi.json', import.meta.url), 'utf8')).toBe(openApiText(VERSION));
  });

  test('has every route once, each with its parameters and answers', () => {
    expect(document.openapi).toMatch(/^3\.1\./);
    expect(operations.map(o => [o.operation.operationId, o.method.toUpperCase(), o.path]).sort()).toEqual(
      Object.entries(routes)
        .map(([name, route]) => [name, route.method, route.path])
        .sort()
    );
    for (const { path, operation } of operations) {
      expect(operation.summary.length).toBeGreaterThan(5);
      const inPath = (operation.parameters ?? []).filter(p => p.in === 'path').map(p => `{${p.name}}`);
      expect(path.match(/\{\w+\}/g) ?? []).toEqual(inPath);
      const names = (operation.parameters ?? []).map(p => `${p.in} ${p.name}`);
      expect(new Set(names).size).toBe(names.length);
      for (const parameter of operation.parameters ?? []) {
        expect(Object.keys(parameter.schema as object).length).toBeGreaterThan(0);
      }
      expect(Object.keys(operation.responses)).toEqual(expect.arrayContaining(['200', '401', '403']));
    }
  });

  test('every reference leads somewhere', () => {
    const references = [...JSON.stringify(document).matchAll(/"\$ref":"([^"]+)"/g)].map(match => match[1] as string);
    expect(references.length).toBeGreaterThan(20);
    for (const reference of references) {
      const [root, components, kind, name] = reference.split('/');
      expect([root, components]).toEqual(['#', 'components']);
      expect([reference, document.components[kind as string]?.[name as string] !== undefined]).toEqual([
        reference,
        true
      ]);
    }
  });
});

describe('the server', () => {
  let rig: Rig;
  beforeAll(async () => {
    rig = await makeRig();
  });
  afterAll(() => rig.close());

  test('has every route of the document', async () => {
    for (const { path, method } of operations.filter(o => o.path !== '/api/events')) {
      const answer = await ask({ socketPath: rig.socketPath }, path.replace('{versionId}', 'aaaaaaaa.1'), {
        method: method.toUpperCase()
      });
      expect([path, (answer.json as { error?: { code: string } }).error?.code]).not.toEqual([path, 'NOT_FOUND']);
    }
  });
});
