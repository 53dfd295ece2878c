import type { MessageSummary } from '../../../server/src/api/contract';

type Given = { [name in keyof MessageSummary]?: MessageSummary[name] | undefined };

/** A message of ana that came in and was not looked at; what is given as undefined it does not have. */
export function summary(more: Given = {}, number = 1): MessageSummary {
  const all: Given = {
    id: number.toString(16).padStart(32, '0'),
    box: 'inbox',
    state: 'new-sender',
    messageId: `message-${number}`,
    form: 'syft-sync',
    sender: { name: 'ana', fingerprint: 'visis napoh sugom firoz movap', publicKey: 'key', own: false },
    recipients: [],
    receivedAt: new Date(Date.UTC(2026, 10, 24, 12) + number * 60_000).toISOString(),
    read: false,
    size: 1000,
    sealed: false,
    files: 1,
    bytes: 300,
    paths: ['a.txt'],
    ...more
  };
  return Object.fromEntries(
    Object.entries(all).filter(([, value]) => value !== undefined)
  ) as unknown as MessageSummary;
}
