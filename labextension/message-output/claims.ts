/**
 * What an output of a notebook says of a message. The notebook may be a stranger's: nothing of it is believed, everything is checked for
 * its form and its size before it is drawn.
 */
import * as z from 'zod/mini';

export const MESSAGE_MIME_TYPE = 'application/vnd.syft.message+json';

const bounded = (length: number): z.ZodMiniString => z.string().check(z.maxLength(length));
const count = z.int().check(z.nonnegative());

const ClaimsSchema = z.object({
  form: z.literal(1),
  /** Where the message itself is, so that it can be looked at. */
  path: z.optional(bounded(8192)),
  id: z.optional(bounded(100)),
  state: z.enum(['verified', 'new-sender', 'changed-sender', 'unsigned', 'altered', 'locked']),
  problem: z.optional(bounded(2000)),
  sender: z.optional(z.object({ name: bounded(500), fingerprint: z.optional(bounded(500)) })),
  recipients: z.array(bounded(500)).check(z.maxLength(20)),
  note: z.optional(bounded(2000)),
  at: z.optional(bounded(40)),
  sealed: z.boolean(),
  count,
  bytes: count,
  files: z.array(z.object({ path: bounded(1000), size: count })).check(z.maxLength(100))
});
export type Claims = z.infer<typeof ClaimsSchema>;

/** The claims of an output; undefined when it is none of ours. */
export function claimsOf(data: unknown): Claims | undefined {
  const { success, data: claims } = ClaimsSchema.safeParse(data);
  return success ? claims : undefined;
}

/** What can be opened to check the claims: a `.syft` file of the workspace, or a message of a box. */
export function whereabouts({ path, id }: Pick<Claims, 'path' | 'id'>): { path: string } | { id: string } | undefined {
  if (id !== undefined && /^[0-9a-f]{32}$/.test(id)) return { id };
  if (path === undefined || !/\.syft$/i.test(path) || path.startsWith('/') || path.split('/').includes('..')) {
    return undefined;
  }
  return { path };
}
