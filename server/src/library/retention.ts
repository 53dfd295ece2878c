/** Retention of a workspace: its saved policy, and pruning by it. */
import { join } from 'node:path';
import type { EraseRequest, EraseResult, PruneRequest, PruneResult } from '../api/contract.ts';
import { isoMicros } from '../core/change.ts';
import { errnoOf, SyftError } from '../core/errors.ts';
import { displayPath } from '../core/path-name.ts';
import { keepsAll, parsePolicy, policyText, type RetentionPolicy } from '../core/retention-policy.ts';
import type { ReadonlyTree } from '../core/tree.ts';
import { eraseContent } from '../log/erase.ts';
import { pruneLog, type LostVersion, type PruneOptions } from '../log/prune.ts';
import type { OpenWriter } from '../log/types.ts';
import { replaceFile, writeError } from '../storage/durable.ts';
import { readText } from '../storage/read-text.ts';

/** Where a log keeps the policy that `prune` takes when none is given. */
export const POLICY_FILE = 'retention.json';

/**
 * Reads a policy from a file.
 *
 * @returns `undefined` when there is none.
 * @throws SyftError BAD_REQUEST naming file and rule; DISK_ERROR.
 */
export function loadPolicy(path: string): RetentionPolicy | undefined {
  let text: string;
  try {
    text = readText(path);
  } catch (error) {
    if (errnoOf(error) === 'ENOENT') return undefined;
    throw new SyftError('DISK_ERROR', `${path} cannot be read (${errnoOf(error) ?? String(error)}).`, {
      cause: error,
      path
    });
  }
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (error) {
    throw new SyftError('BAD_REQUEST', `${path} is not JSON; write an object such as {"keepAll":"7d","daily":"1y"}.`, {
      cause: error,
      path
    });
  }
  return parsePolicy(value, path);
}

/** Saves a policy as that of a log. Throws DISK_*. */
export function savePolicy(logDir: string, policy: RetentionPolicy): void {
  try {
    replaceFile(join(logDir, POLICY_FILE), Buffer.from(`${JSON.stringify(policyText(policy), null, 1)}\n`));
  } catch (error) {
    throw writeError(error, 'the policy could not be saved');
  }
}

/**
 * Prunes a log as the contract says.
 *
 * @throws SyftError BAD_REQUEST for a policy that is none; DISK_*, CANCELLED.
 */
export async function pruneWorkspace(
  log: OpenWriter,
  request: PruneRequest,
  options: Pick<PruneOptions, 'signal' | 'onProgress'> = {}
): Promise<PruneResult> {
  const policy = parsePolicy(request.policy, 'the policy');
  const dryRun = request.dryRun ?? false;
  const now = Date.now() * 1000;
  // Keeping all is the default, and needs no look at the log.
  if (keepsAll(policy)) {
    throw new SyftError('BAD_REQUEST', 'A policy without rules keeps everything; there is nothing to prune.');
  }
  const { lost, ...sums } = await pruneLog(log, policy, { now, dryRun, ...options });
  return {
    dryRun,
    policy: policyText(policy),
    versions: lost.length,
    ...sums,
    lost: lost.map(lostJson)
  };
}

function lostJson({ versionId, path, at, size }: LostVersion): PruneResult['lost'][number] {
  return { versionId, path: displayPath(path), at: isoMicros(at), size };
}

/**
 * Erases a content as the contract says.
 *
 * @param tree What is recorded last of each path.
 * @throws SyftError VERSION_NOT_FOUND, CONTENT_SHARED, DISK_*, CANCELLED.
 */
export async function eraseFromWorkspace(
  log: OpenWriter,
  tree: ReadonlyTree,
  request: EraseRequest,
  options: Pick<PruneOptions, 'signal' | 'onProgress'> = {}
): Promise<EraseResult> {
  const dryRun = request.dryRun ?? false;
  const { hash, shared } = request;
  const { versions, sharing, copies, unreadCopies, otherDevices, ...rest } = await eraseContent(log, {
    hash,
    shared,
    dryRun,
    ...options
  });
  const onDisk: string[] = [];
  for (const change of tree.values()) if (change.hash === hash) onDisk.push(displayPath(change.path));
  return {
    dryRun,
    ...rest,
    versions: versions.map(lostJson),
    sharing: sharing.map(lostJson),
    copies: [...copies],
    unreadCopies: [...unreadCopies],
    otherDevices: [...otherDevices],
    onDisk
  };
}
