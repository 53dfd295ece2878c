/** Icons of our own, drawn for JupyterLab's themes. */
import { LabIcon } from '@jupyterlab/ui-components';

import contactsSvg from '../style/icons/contacts.svg';
import historySvg from '../style/icons/history.svg';
import messageSvg from '../style/icons/message.svg';
import pinSvg from '../style/icons/pin.svg';
import recordingSvg from '../style/icons/recording.svg';
import restoreSvg from '../style/icons/restore.svg';
import sqlSvg from '../style/icons/sql.svg';

export const historyIcon = new LabIcon({ name: 'syft-sync:history', svgstr: historySvg });
export const restoreIcon = new LabIcon({ name: 'syft-sync:restore', svgstr: restoreSvg });
export const recordingIcon = new LabIcon({ name: 'syft-sync:recording', svgstr: recordingSvg });
export const pinIcon = new LabIcon({ name: 'syft-sync:pin', svgstr: pinSvg });
export const sqlIcon = new LabIcon({ name: 'syft-sync:sql', svgstr: sqlSvg });
export const contactsIcon = new LabIcon({ name: 'syft-sync:contacts', svgstr: contactsSvg });
export const messageIcon = new LabIcon({ name: 'syft-sync:message', svgstr: messageSvg });
