/**
 * The API, made when the first request comes. What it is made of takes longer to load than all else that a recorder needs, and
 * most recorders are never asked.
 */
import type { IncomingMessage, ServerResponse } from 'node:http';
import { errorBody, httpStatus } from './http-errors.ts';
import { SyftError } from '../core/errors.ts';
import type { Answering } from './listen.ts';
import type { Api, ApiOptions } from './server.ts';

/** Answers as {@link createApi} does, which it calls at the first request. */
export function apiOnDemand(options: ApiOptions): Answering {
  let made: Promise<Api> | undefined;
  const make = async (): Promise<Api> => (await import('./server.ts')).createApi(options);
  return {
    app: (request, response) => {
      made ??= make();
      made.then(
        ({ app }) => {
          app(request, response);
        },
        (error: unknown) => {
          refuse(request, response, error);
        }
      );
    },
    close: () => {
      made?.then(
        api => {
          api.close();
        },
        () => undefined
      );
    }
  };
}

/** The program on disk is not the one that runs: it was replaced or removed since. */
function refuse(request: IncomingMessage, response: ServerResponse, cause: unknown): void {
  const error = new SyftError(
    'UNAVAILABLE',
    'The recorder cannot load the part that answers; syft-sync was replaced while it ran. Stop the recorder and start it again.',
    { cause }
  );
  request.resume();
  response.writeHead(httpStatus(error.code), { 'content-type': 'application/json' });
  response.end(JSON.stringify(errorBody(error)));
}
