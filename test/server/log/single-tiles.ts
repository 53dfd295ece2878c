/** Makes a log one as it was written before tiles shared files: a file for each tile, at the paths of C2SP tlog-tiles. */
import { mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';

/** @param streamDir `log/<device>`; none of its levels may have a second file. */
export function splitTiles(streamDir: string): void {
  for (const level of readdirSync(join(streamDir, 'tile'))) {
    const file = join(streamDir, 'tile', level, '000000.tiles');
    const bytes = readFileSync(file);
    for (let at = 0; at < bytes.length; at += 8192) {
      const tile = bytes.subarray(at, at + 8192);
      const name = `${String(at / 8192).padStart(3, '0')}${tile.length < 8192 ? `.p/${tile.length / 32}` : ''}`;
      const path = join(streamDir, 'tile', level, name);
      mkdirSync(dirname(path), { recursive: true, mode: 0o700 });
      writeFileSync(path, tile, { mode: 0o600 });
    }
    rmSync(file);
  }
}
