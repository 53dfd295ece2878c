/** The public library. */
export * from './api/contract.ts';
