/** The extension's plugins. */
import { connectionPlugin } from './plugins/connection';
import { historyPlugin } from './plugins/history';
import { messagePlugin } from './plugins/message';
import { messageOutputPlugin } from './plugins/message-output';
import { messagesPlugin } from './plugins/messages';
import { previewPlugin, restorePlugin } from './plugins/preview';
import { sharePlugin } from './plugins/share';
import { sqlPlugin } from './plugins/sql';
import { statusPlugin } from './plugins/status';

export * from './tokens';

export default [
  connectionPlugin,
  restorePlugin,
  previewPlugin,
  historyPlugin,
  messagesPlugin,
  messagePlugin,
  messageOutputPlugin,
  sharePlugin,
  sqlPlugin,
  statusPlugin
];
