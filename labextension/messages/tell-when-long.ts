/** Says that something goes on, when it goes on for long. */
import { Notification } from '@jupyterlab/apputils';

/** Milliseconds; what is done by then is not worth a word. */
const LONG = 1000;

/** @returns what the work gives; nothing is shown of its failure */
export async function tellWhenLong<T>(text: string, work: Promise<T>): Promise<T> {
  let notification: string | undefined;
  const timer = setTimeout(() => {
    notification = Notification.emit(text, 'in-progress', { autoClose: false });
  }, LONG);
  try {
    return await work;
  } finally {
    clearTimeout(timer);
    if (notification !== undefined) Notification.dismiss(notification);
  }
}
