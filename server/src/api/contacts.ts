/** The routes of contacts: whose keys are known, who this installation is, its link as a picture; and what came to its mailbox. */
import type { Express, Response } from 'express';
import type * as z from 'zod';
import { SyftError } from '../core/errors.ts';
import { fetchMessages } from '../library/fetch-messages.ts';
import { parseContactLink } from '../messages/contact-link.ts';
import { Contacts, linkOf, wordsOf, type Contact } from '../messages/contacts.ts';
import { makeMailbox } from '../messages/mailbox.ts';
import { changeOwnContact, ownContact, type OwnContact } from '../messages/own-contact.ts';
import { qrPng, qrSvg, readQr } from '../messages/qr.ts';
import {
  AddContactRequestSchema,
  ChangeMyContactRequestSchema,
  ContactPictureQuerySchema,
  type AddContactRequest,
  type ContactDto
} from './contract.ts';
import type { MessageService } from './message-service.ts';

type Parse = <T extends z.ZodType>(schema: T, value: unknown, where: 'query' | 'body') => z.output<T>;

/**
 * Adds the routes.
 *
 * @param service Whose configuration and log it is; `undefined`: this process has neither.
 * @param parse Validates what came in; throws BAD_REQUEST.
 */
export function addContactRoutes(app: Express, service: MessageService | undefined, parse: Parse): void {
  const there = (): MessageService => {
    if (service !== undefined) return service;
    throw new SyftError('NOT_RUNNING', 'This process has no contacts.');
  };
  const contacts = (): Contacts => new Contacts(there().configuration);
  const me = async (): Promise<OwnContact> => ownContact(there().configuration, there().host.logDir);

  app.get('/api/contacts', async (_req, res) => {
    res.json({ me: shownMe(await me()), contacts: (await contacts().list()).map(shown) });
  });
  app.post('/api/contacts', async (req, res) => {
    const request = parse(AddContactRequestSchema, req.body, 'body');
    res.json(shown(await add(contacts(), request)));
    // A sender who was not known may be one now.
    there().host.messagesChanged();
  });
  app.patch('/api/contacts/me', async (req, res) => {
    const change = parse(ChangeMyContactRequestSchema, req.body, 'body');
    const { configuration } = there();
    // What is said to others must be there.
    if (change.mailbox !== undefined && change.mailbox !== '') await makeMailbox(change.mailbox);
    await changeOwnContact(configuration, change);
    res.json(shownMe(await me()));
  });
  app.delete('/api/contacts/:name', async (req, res) => {
    res.json(shown(await contacts().remove(req.params.name)));
    there().host.messagesChanged();
  });
  app.get('/api/contacts/qr', async (req, res) => {
    const { name, format } = parse(ContactPictureQuerySchema, req.query, 'query');
    const contact = name === undefined ? shownMe(await me()) : shown(await contacts().single(name));
    if (format === 'png') res.type('png').send(qrPng(contact.link));
    else res.type('svg').send(qrSvg(contact.link, `${contact.name}, ${contact.fingerprint}`));
  });
  app.post('/api/messages/fetch', async (_req, res) => {
    const { box, configuration, host } = there();
    const { received, mailboxes, problems } = await fetchMessages(box, {
      logDir: host.logDir,
      configuration,
      signal: gone(res),
      take: async (bytes, signal) => void (await there().receive(bytes, 'mailbox', signal))
    });
    res.json({ received, mailboxes, problems });
  });
}

async function add(contacts: Contacts, request: AddContactRequest): Promise<Contact> {
  const link = 'picture' in request ? readQr(Buffer.from(request.picture, 'base64')) : request.link;
  const { recipient, mailbox }: { recipient?: string | undefined; mailbox?: string | undefined } =
    'picture' in request ? {} : request;
  const said = { ...(recipient !== undefined && { recipient }), ...(mailbox !== undefined && { mailbox }) };
  return contacts.add({ ...parseContactLink(link), ...said }, { link: link.trim() });
}

function shown(contact: Contact): ContactDto {
  return shownMe({ ...contact, link: linkOf(contact) });
}

function shownMe({ name, publicKey, recipient, mailbox, link }: Omit<ContactDto, 'fingerprint'>): ContactDto {
  return {
    name,
    publicKey,
    fingerprint: wordsOf({ publicKey }),
    ...(recipient !== undefined && { recipient }),
    ...(mailbox !== undefined && { mailbox }),
    link
  };
}

/** Aborted when whoever asked has gone. */
function gone(res: Response): AbortSignal {
  const controller = new AbortController();
  res.on('close', () => {
    if (!res.writableFinished) controller.abort();
  });
  return controller.signal;
}
