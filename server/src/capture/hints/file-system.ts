/** What is known of file systems by their type: whose changes the system tells of, what link counts mean, what times are kept. */
import { statfsSync } from 'node:fs';

/**
 * File systems that other machines change behind the kernel's back, or whose server tells of nothing: no events.
 * Magic numbers from Linux `include/uapi/linux/magic.h` and the file systems' own sources.
 */
const REMOTE: ReadonlyMap<number, string> = new Map([
  [0x6969, 'nfs'],
  [0x517b, 'smb'],
  [0xff534d42, 'cifs'],
  [0xfe534d42, 'smb2'],
  [0x01021997, '9p'],
  [0x65735546, 'fuse'],
  [0x5346414f, 'afs'],
  [0x6b414653, 'afs'],
  [0x73757245, 'coda'],
  [0x00c36400, 'ceph'],
  [0x0bd00bd0, 'lustre'],
  [0x47504653, 'gpfs'],
  [0x19830326, 'beegfs'],
  [0x7461636f, 'ocfs2'],
  [0x01161970, 'gfs2'],
  [0x786f4256, 'vboxsf'],
  [0xbacbacbc, 'vmhgfs'],
  [0x6a656a63, 'virtiofs']
]);

/** File systems on which a directory has two links and one more for each subdirectory. */
const COUNTING: ReadonlySet<number> = new Set([
  0xef53, // ext2, ext3, ext4
  0x58465342, // xfs
  0x01021994 // tmpfs
]);

/**
 * Local file systems that give a directory new times with each name that comes or goes, in the same transaction: every change to
 * them goes through the kernel. (One that is taken to another machine, as FAT is, may come back otherwise.)
 */
const TIMING: ReadonlySet<number> = new Set([
  0xef53, // ext2, ext3, ext4
  0x58465342, // xfs
  0x9123683e, // btrfs
  0xf2f52010, // f2fs
  0x2fc12fc1, // zfs
  0x01021994 // tmpfs
]);

/** Type of the file system at a path; 0 when it cannot be told. */
export function fileSystemAt(path: string | Buffer): number {
  try {
    // Signed on some platforms.
    return statfsSync(path).type >>> 0;
  } catch {
    return 0;
  }
}

/** Name of the network or shared file system of this type; `undefined` for a local one. */
export function remoteName(type: number): string | undefined {
  return REMOTE.get(type);
}

/** Whether a link count of two says that a directory has no subdirectory. */
export function linksTellOfSubdirectories(type: number): boolean {
  return COUNTING.has(type);
}

/** Whether a directory whose times are as they were has the names that it had. */
export function keepsTimesOfDirectories(type: number): boolean {
  return TIMING.has(type);
}
