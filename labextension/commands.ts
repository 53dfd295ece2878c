/** Ids of the commands; other extensions may run them. */
export namespace CommandIDs {
  export const openPanel = 'syft-sync:open-panel';
  export const showHistory = 'syft-sync:show-history';
  export const recoverDeleted = 'syft-sync:recover-deleted';
  export const previewVersion = 'syft-sync:preview-version';
  export const restoreVersion = 'syft-sync:restore-version';
  export const restoreCopy = 'syft-sync:restore-copy';
  export const downloadVersion = 'syft-sync:download-version';
  export const copyVersionId = 'syft-sync:copy-version-id';
  export const pinVersion = 'syft-sync:pin-version';
  export const labelVersion = 'syft-sync:label-version';
  export const removeLabel = 'syft-sync:remove-label';
  export const openFile = 'syft-sync:open-file';
  export const pauseRecording = 'syft-sync:pause-recording';
  export const resumeRecording = 'syft-sync:resume-recording';
  export const captureNow = 'syft-sync:capture-now';
  export const restartSidecar = 'syft-sync:restart-sidecar';
  export const focusFilter = 'syft-sync:focus-filter';
  export const openSql = 'syft-sync:open-sql';
  export const runSql = 'syft-sync:run-sql';
  export const stopSql = 'syft-sync:stop-sql';
  export const saveSql = 'syft-sync:save-sql';
  export const exportSql = 'syft-sync:export-sql';
  export const copySqlCell = 'syft-sync:copy-sql-cell';
  export const openMessage = 'syft-sync:open-message';
  export const acceptMessage = 'syft-sync:accept-message';
  export const compareMessageFile = 'syft-sync:compare-message-file';
  export const replyMessage = 'syft-sync:reply-message';
  export const removeMessage = 'syft-sync:remove-message';
  export const receiveMessage = 'syft-sync:receive-message';
  export const addMessageFile = 'syft-sync:add-message-file';
  export const fetchMessages = 'syft-sync:fetch-messages';
  export const showMessages = 'syft-sync:show-messages';
  export const focusMessageFilter = 'syft-sync:focus-message-filter';
  export const share = 'syft-sync:share';
  export const openContacts = 'syft-sync:open-contacts';
}
