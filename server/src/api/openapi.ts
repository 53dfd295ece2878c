/**
 * The HTTP API as OpenAPI 3.1, from contract.ts. `node server/src/api/openapi.ts` writes docs/openapi.json; a test holds
 * the file to it.
 */
import { writeFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import * as z from 'zod';
import { API_VERSION } from './contract.ts';
import * as contract from './contract.ts';

type Json = { [key: string]: unknown };

interface RouteSpec {
  readonly method: string;
  readonly path: string;
  readonly query?: z.ZodObject;
  readonly body?: z.ZodType;
  readonly response: z.ZodType | 'bytes' | 'message' | 'picture' | 'event-stream' | 'sql';
}

/** What each route does, and what it may refuse with. */
const WORDS: Record<
  keyof typeof contract.routes,
  { summary: string; description?: string; errors: readonly number[] }
> = {
  health: { summary: 'The sidecar answers', errors: [] },
  status: { summary: 'What is recorded, how it goes, what is wrong', errors: [] },
  changes: { summary: 'Changes of the workspace, newest first', errors: [400, 404, 503] },
  history: {
    summary: 'Changes of one path, newest first, followed back across moves',
    description: 'Of a path that nothing is recorded of the list is empty.',
    errors: [400, 503]
  },
  tree: { summary: 'The files as they are in the log now, or were at a moment', errors: [400, 503] },
  deleted: { summary: 'Files that are gone and can be brought back, newest deletion first', errors: [400, 503] },
  version: { summary: 'One version, by its id or a unique prefix of it', errors: [400, 404, 503] },
  content: {
    summary: 'The content of a version, byte for byte',
    description:
      'With `ETag`, `Content-Length` and one byte range. The content is verified while it is sent; when it turns out damaged the connection is cut before its end.',
    errors: [404, 409, 410, 500, 503]
  },
  restore: {
    summary: 'Puts a version back; what stood there is recorded first',
    errors: [400, 404, 409, 410, 423, 503, 507]
  },
  marks: { summary: 'Labels or pins a version, or takes it back', errors: [400, 404, 409, 410, 423, 503, 507] },
  compact: {
    summary: 'Stores the contents of full segments anew, so that they take less room',
    errors: [423, 503, 507]
  },
  prune: { summary: 'Drops the contents that a policy does not keep', errors: [400, 423, 503, 507] },
  erase: { summary: 'Erases one content from every version that has it', errors: [400, 404, 409, 423, 503, 507] },
  import: {
    summary: 'Verifies a message whole, then writes its files into the workspace and records them',
    errors: [400, 404, 409, 422, 423, 503, 507]
  },
  remove: { summary: 'Undoes a restore that created a file', errors: [400, 404, 409, 423, 503] },
  flush: { summary: 'Answers when the state every file has now is recorded and durable', errors: [423, 503, 507] },
  capture: { summary: 'One pass over the workspace', errors: [423, 503, 507] },
  pause: { summary: 'Stops recording until resumed', errors: [423, 503] },
  resume: { summary: 'Records again, beginning with what was missed', errors: [423, 503] },
  setup: { summary: 'Chooses the folders to record', errors: [400, 404, 503] },
  stats: { summary: 'Counts over the whole log', errors: [503] },
  messages: { summary: 'Messages of inbox and outbox, newest first', errors: [400, 503] },
  message: {
    summary: 'One message with its files and what is proven of it; it counts as read then',
    errors: [400, 404, 503]
  },
  messageRemove: {
    summary: 'Takes a message out of its box; nothing of the workspace changes',
    errors: [404, 503, 507]
  },
  messageArchive: {
    summary: 'The `.syft` file of a message; of one that was sent it is made anew from its versions',
    errors: [404, 410, 500, 503, 507]
  },
  messageContent: {
    summary: 'The content of a file of a message that holds, byte for byte',
    description:
      'With `ETag`, `Content-Length` and one byte range. It is verified while it is sent; when it turns out otherwise the connection is cut before its end.',
    errors: [400, 404, 422, 423, 503]
  },
  messageInspect: {
    summary: 'What a `.syft` file of the workspace is, without taking it into the inbox',
    errors: [400, 404, 409, 503]
  },
  messageReceive: {
    summary: 'Takes a message into the inbox: a `.syft` file of the workspace, or the body',
    description:
      'With `Content-Type: application/x-syft` the body is the message, of any length; it is written to a file as it comes, and limits on size and number hold while it is read. Nothing of it is written into the workspace. The same archive twice is one message.',
    errors: [400, 404, 409, 503, 507]
  },
  messageAccept: {
    summary: 'Writes files of a message into the workspace and records them; what stood there is recorded first',
    errors: [400, 404, 409, 422, 423, 503, 507]
  },
  messagePlan: { summary: 'What sharing would send, and what it would leave out', errors: [400, 404, 503] },
  messageShare: {
    summary: 'Makes a message, brings it where it is to go, and notes it in the outbox',
    errors: [400, 404, 409, 410, 503, 507]
  },
  messageFetch: {
    summary: 'Takes what is new out of the mailbox of this installation into the inbox',
    description:
      'A message leaves the mailbox when it is durable in the inbox. What was not taken is said in `problems`. One process fetches at a time.',
    errors: [423, 503, 507]
  },
  contacts: { summary: 'Whose keys are known here, and who this installation is', errors: [503] },
  contactAdd: {
    summary: 'Believes the key of a link, or of its picture',
    description:
      'What a link says beside name and key must be signed with that key. A name that has another key is refused.',
    errors: [422, 423, 503, 507]
  },
  contactMe: { summary: 'Says otherwise who this installation is', errors: [403, 423, 503, 507] },
  contactRemove: {
    summary: 'Forgets a contact, by its name or by the words of its key',
    errors: [404, 423, 503, 507]
  },
  contactPicture: { summary: 'The link of a contact as a QR code', errors: [400, 404, 503] },
  sql: {
    summary: 'One SQL statement over the change log, its result as a stream',
    description:
      'The format is that of the body, else the best of `Accept`, else JSON: one array of objects. Errors found before the first row are answers; later ones cut the connection before its end, and the outcome of `queryId` says why. Closing the request cancels the query. Tables: docs/sql.md.',
    errors: [400, 404, 409, 410, 422, 423, 503]
  },
  sqlSchema: { summary: 'Tables, columns and macros of SQL, with their documentation', errors: [] },
  sqlOutcome: { summary: 'What became of a query: rows, time, truncated, error', errors: [404] },
  events: {
    summary: 'Live changes, as server-sent events',
    description:
      'Events: `status` (a Status, on connect and when it changed), `changes` (`{"changes":[ChangeRow, …]}`, oldest first; the id is the version id of the last), `reset` (more was missed than is replayed: load afresh). Come back with the last id in `Last-Event-ID` to get what was missed.',
    errors: []
  },
  changeSetApply: {
    summary: 'Applies a change set of SyftBox or syft, all of it or nothing',
    description:
      'Each file must be what the change set begins with, and the sender must have write access by `syft.pub.yaml` where there is one. A file that is not is a conflict, and refuses all of it unless conflicts are to be skipped.',
    errors: [400, 403, 404, 409, 412, 422, 423, 503, 507]
  }
};

const ERRORS: Record<number, string> = {
  400: 'The request is wrong; the message names the field.',
  401: 'The secret of this launch is missing or wrong.',
  403: 'Asked under another host, by a page of another origin, or without the header that guards writes.',
  404: 'There is no such version, path or message.',
  409: 'The state of the workspace or of the version does not allow it.',
  410: 'The content of the version was pruned or erased.',
  412: 'A file is not what the change set begins with.',
  422: 'The query took more time or memory than it may; the code says which.',
  423: 'Another process records this log.',
  500: 'The log is damaged there, or something went wrong inside.',
  503: 'Not now: starting, folders to be chosen first, or nothing to read.',
  507: 'The disk is full or read-only, or the message box is full.'
};

const bytes: Json = { schema: { type: 'string', format: 'binary' } };
const SQL_CONTENT: Json = {
  'application/vnd.apache.arrow.stream': bytes,
  'application/json': { schema: { type: 'array', items: { type: 'object' } } },
  'application/x-ndjson': { schema: { type: 'string' } },
  'text/csv': { schema: { type: 'string' } },
  'application/vnd.apache.parquet': bytes
};

/** Schemas with a name of their own in the document. */
function namedSchemas(): Map<z.ZodType, string> {
  const named = new Map<z.ZodType, string>();
  for (const [name, value] of Object.entries(contract)) {
    if (value instanceof z.ZodType && name.endsWith('Schema') && !name.endsWith('QuerySchema')) {
      named.set(value, name.slice(0, -'Schema'.length));
    }
  }
  return named;
}

/** A schema as JSON Schema 2020-12, which is what OpenAPI 3.1 speaks; named parts become references. */
function jsonSchemas(named: ReadonlyMap<z.ZodType, string>): Record<string, Json> {
  const registry = z.registry<{ id: string }>();
  for (const [schema, id] of named) registry.add(schema, { id });
  const { schemas } = z.toJSONSchema(registry, { uri: id => `#/components/schemas/${id}`, io: 'input' });
  return Object.fromEntries(Object.entries(schemas).map(([id, schema]) => [id, strip(schema as Json)]));
}

function strip(schema: Json): Json {
  const { $schema: _schema, $id: _id, id: _name, ...rest } = schema;
  return rest;
}

/** The document. */
export function openApiDocument(version: string): Json {
  const named = namedSchemas();
  const content = (schema: z.ZodType): Json => {
    const name = named.get(schema);
    return name === undefined
      ? strip(z.toJSONSchema(schema, { io: 'input' }))
      : { $ref: `#/components/schemas/${name}` };
  };
  const paths: Record<string, Json> = {};
  for (const [name, spec] of Object.entries(contract.routes)) {
    const route: RouteSpec = spec;
    const words = WORDS[name as keyof typeof contract.routes];
    const parameters: Json[] = [...route.path.matchAll(/\{(\w+)\}/g)].map(match => ({
      name: match[1],
      in: 'path',
      required: true,
      schema: { type: 'string' }
    }));
    for (const [key, schema] of Object.entries(route.query?.shape ?? {})) {
      const { description, ...rest } = strip(z.toJSONSchema(schema as z.ZodType, { io: 'input' }));
      const required = !(schema as z.ZodType).safeParse(undefined).success;
      parameters.push({
        name: key,
        in: 'query',
        ...(required && { required }),
        ...(description !== undefined && { description }),
        schema: rest
      });
    }
    if (name === 'events') parameters.push({ name: 'Last-Event-ID', in: 'header', schema: { type: 'string' } });
    if (name === 'content' || name === 'messageContent') {
      parameters.push({ name: 'Range', in: 'header', description: 'One byte range', schema: { type: 'string' } });
    }
    if (route.method !== 'GET') {
      parameters.push({
        name: 'X-Syft-Sync-Request',
        in: 'header',
        required: true,
        description: 'Guards against forged requests',
        schema: { const: '1' }
      });
    }
    const good: Json =
      route.response === 'bytes'
        ? {
            description: 'The bytes',
            content: { 'application/octet-stream': { schema: { type: 'string', format: 'binary' } } }
          }
        : route.response === 'picture'
          ? { description: 'The picture', content: { 'image/svg+xml': bytes, 'image/png': bytes } }
          : route.response === 'message'
            ? { description: 'The message, as an attachment', content: { 'application/x-syft': bytes } }
            : route.response === 'sql'
              ? { description: 'The rows', content: SQL_CONTENT }
              : route.response === 'event-stream'
                ? { description: 'The stream', content: { 'text/event-stream': { schema: { type: 'string' } } } }
                : { description: 'Done', content: { 'application/json': { schema: content(route.response) } } };
    const codes = [...new Set([...(route.method === 'GET' ? [401, 403] : [400, 401, 403]), ...words.errors])].sort();
    paths[route.path] = {
      ...paths[route.path],
      [route.method.toLowerCase()]: {
        operationId: name,
        summary: words.summary,
        ...(words.description !== undefined && { description: words.description }),
        ...(parameters.length > 0 && { parameters }),
        ...(route.body !== undefined && {
          requestBody: {
            required: true,
            content: {
              'application/json': { schema: content(route.body) },
              ...(name === 'messageReceive' && { 'application/x-syft': bytes })
            }
          }
        }),
        responses: {
          200: good,
          ...Object.fromEntries(codes.map(code => [code, { $ref: `#/components/responses/${code}` }]))
        }
      }
    };
  }
  return {
    openapi: '3.1.1',
    info: {
      title: 'Syft Sync',
      version,
      summary: `Every version of every file of a workspace. API version ${API_VERSION}.`,
      license: { name: 'Apache-2.0', identifier: 'Apache-2.0' }
    },
    servers: [{ url: '/', description: 'A unix socket, 127.0.0.1, or behind JupyterLab below `<base_url>syft-sync`' }],
    security: [{ secret: [] }, { bearer: [] }],
    paths,
    components: {
      schemas: jsonSchemas(named),
      responses: Object.fromEntries(
        Object.entries(ERRORS).map(([code, description]) => [
          code,
          { description, content: { 'application/json': { schema: { $ref: '#/components/schemas/Error' } } } }
        ])
      ),
      securitySchemes: {
        secret: { type: 'apiKey', in: 'header', name: 'X-Syft-Sync-Secret', description: 'The secret of this launch' },
        bearer: { type: 'http', scheme: 'bearer', description: 'The same secret' }
      }
    }
  };
}

/** The text of docs/openapi.json. */
export function openApiText(version: string): string {
  return `${JSON.stringify(openApiDocument(version), null, 2)}\n`;
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const { VERSION } = await import('../library/version.ts');
  writeFileSync(new URL('../../../docs/openapi.json', import.meta.url), openApiText(VERSION));
}
