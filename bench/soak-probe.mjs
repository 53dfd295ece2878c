/**
 * Loaded into the process that soak.mjs watches (`node --import`): answers each message of its parent with what only the
 * process itself knows of its memory and of the handles it holds.
 */
process.on('message', () => {
  const { heapUsed, external, arrayBuffers } = process.memoryUsage();
  const handles = {};
  for (const kind of process.getActiveResourcesInfo()) handles[kind] = (handles[kind] ?? 0) + 1;
  process.send?.({ heapUsed, external, arrayBuffers, handles });
});
// Asking must not keep alive what would end.
process.channel?.unref();
