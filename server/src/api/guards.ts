/**
 * Who may ask. Every route: the secret of this launch. Over TCP besides: a Host that is this machine (against DNS
 * rebinding) and no foreign Origin. Whatever is not a GET: a body of a type, and a header, that no plain form can send
 * (against forged requests of another site).
 */
import { createHash, timingSafeEqual } from 'node:crypto';
import type { NextFunction, Request, Response } from 'express';
import { SyftError } from '../core/errors.ts';
import { isUpload, UPLOAD_PATH } from './uploads.ts';

export interface GuardOptions {
  /** The secret of this launch. Without one only a unix socket, which the file system guards, is answered. */
  readonly secret?: string | undefined;
  /** Origins of pages that may ask over TCP, such as `http://localhost:8888`, beside our own. */
  readonly allowedOrigins?: readonly string[] | undefined;
}

const LOCAL_HOST = /^(?:127\.0\.0\.1|localhost|\[::1\])(?::[0-9]{1,5})?$/i;

/** Compares without telling by the time it takes how much was right; the digest makes the lengths equal. */
function sameSecret(given: string, secret: string): boolean {
  const digest = (text: string): Buffer => createHash('sha256').update(text).digest();
  return timingSafeEqual(digest(given), digest(secret));
}

/** The secret a request brings: our own header, or a bearer token. */
function givenSecret(req: Request): string | undefined {
  const own = req.get('x-syft-sync-secret');
  if (own !== undefined) return own;
  return /^Bearer ([^\s]+)$/i.exec(req.get('authorization') ?? '')?.[1];
}

function isTcp(req: Request): boolean {
  return req.socket.remoteAddress !== undefined;
}

/** Headers every answer has: nothing is cached, sniffed, framed or run. */
export function secureHeaders(_req: Request, res: Response, next: NextFunction): void {
  res.set({
    'Cache-Control': 'no-store',
    'Content-Security-Policy': "sandbox; default-src 'none'; frame-ancestors 'none'",
    'Cross-Origin-Resource-Policy': 'same-origin',
    'Referrer-Policy': 'no-referrer',
    'X-Content-Type-Options': 'nosniff'
  });
  next();
}

/** Refuses what is addressed to another host, or comes from a page of another site. TCP only. */
export function checkHostAndOrigin(options: GuardOptions) {
  const allowed = new Set(options.allowedOrigins ?? []);
  return (req: Request, res: Response, next: NextFunction): void => {
    if (!isTcp(req)) {
      next();
      return;
    }
    const host = req.get('host') ?? '';
    if (!LOCAL_HOST.test(host)) {
      throw new SyftError('FORBIDDEN', 'This address answers to 127.0.0.1 and localhost only.');
    }
    const origin = req.get('origin');
    if (origin !== undefined && origin !== `http://${host}`) {
      if (!allowed.has(origin)) throw new SyftError('FORBIDDEN', 'Pages of this origin may not ask.');
      res.set({
        'Access-Control-Allow-Origin': origin,
        'Cross-Origin-Resource-Policy': 'cross-origin',
        Vary: 'Origin'
      });
      if (req.method === 'OPTIONS') {
        res.set({
          'Access-Control-Allow-Methods': 'GET, POST, PATCH, DELETE',
          'Access-Control-Allow-Headers':
            'authorization, content-type, last-event-id, range, x-syft-sync-request, x-xsrftoken',
          'Access-Control-Max-Age': '600'
        });
        res.status(204).end();
        return;
      }
    }
    next();
  };
}

/** Refuses whoever does not bring the secret. */
export function checkSecret(options: GuardOptions) {
  const { secret } = options;
  return (req: Request, res: Response, next: NextFunction): void => {
    const given = givenSecret(req);
    const fits = secret === undefined ? !isTcp(req) : given !== undefined && sameSecret(given, secret);
    if (!fits) {
      res.set('WWW-Authenticate', 'Bearer');
      throw new SyftError('UNAUTHORIZED', 'The secret of this launch is missing or wrong.');
    }
    next();
  };
}

/** Refuses writes that a page of another site could have sent. */
export function checkForgery(req: Request, _res: Response, next: NextFunction): void {
  if (req.method !== 'GET' && req.method !== 'HEAD') {
    const isMessage = req.path === UPLOAD_PATH && isUpload(req);
    if (!isMessage && !/^application\/json(?:\s*;|$)/i.test(req.get('content-type') ?? '')) {
      throw new SyftError('BAD_REQUEST', 'The request needs the header "Content-Type: application/json".');
    }
    if (req.get('x-syft-sync-request') !== '1' && (req.get('x-xsrftoken') ?? '') === '') {
      throw new SyftError('FORBIDDEN', 'The request needs the header "X-Syft-Sync-Request: 1".');
    }
  }
  next();
}
