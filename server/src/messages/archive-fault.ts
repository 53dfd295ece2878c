/** Why a message is refused: a sentence about it, without its name. */
export class ArchiveFault extends Error {
  override readonly name = 'ArchiveFault';
}
