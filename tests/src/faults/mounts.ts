/** File systems of their own for a test, where this machine allows it: a small one that fills up, and one whose disk can be copied as a power cut leaves it. */
import { execFileSync } from "node:child_process";
import { constants, copyFileSync, mkdirSync, rmSync, truncateSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { temporaryFolder } from "../node-process.ts";
import { can } from "./scope.ts";

const run = (file: string, ...args: string[]): void => {
  execFileSync(file, args, { stdio: "pipe", timeout: 60_000 });
};

/** A mounted folder; it is unmounted in the end. */
export interface Mount extends Disposable {
  readonly path: string;
}

const unmount = (path: string): void => {
  // A process that has just been killed may hold it for a moment.
  run("umount", "-l", path);
};

/** A file system in memory of this size. */
export function smallDisk(folder: string, bytes: number): Mount {
  const path = join(folder, "small");
  mkdirSync(path);
  run("mount", "-t", "tmpfs", "-o", `size=${bytes}`, "none", path);
  return { path, [Symbol.dispose]: () => unmount(path) };
}

/** An ext4 file system on an image file: what the image holds is what a disk would hold at that moment. */
export class ImageDisk implements Disposable {
  readonly path: string;
  readonly #image: string;
  readonly #folder: string;
  #copies = 0;
  #mounted = false;

  private constructor(folder: string, image: string, path: string) {
    this.#folder = folder;
    this.#image = image;
    this.path = path;
    run("mount", "-o", "loop", image, path);
    this.#mounted = true;
  }

  static make(folder: string, bytes: number): ImageDisk {
    const image = join(folder, "disk.img");
    const path = join(folder, "disk");
    writeFileSync(image, "");
    truncateSync(image, bytes);
    run("mkfs.ext4", "-q", "-F", "-E", "lazy_itable_init=0,lazy_journal_init=0", image);
    mkdirSync(path);
    return new ImageDisk(folder, image, path);
  }

  /** What is on the disk now, without what the kernel still keeps back, as a disk of its own. */
  cut(): ImageDisk {
    const name = `cut-${++this.#copies}`;
    const folder = join(this.#folder, name);
    mkdirSync(folder);
    const image = join(folder, "disk.img");
    copyFileSync(this.#image, image, constants.COPYFILE_FICLONE);
    const path = join(folder, "disk");
    mkdirSync(path);
    return new ImageDisk(folder, image, path);
  }

  [Symbol.dispose](): void {
    if (!this.#mounted) return;
    this.#mounted = false;
    unmount(this.path);
    rmSync(this.#image, { force: true });
  }
}

/** Whether this process may mount; asked once. */
export const canMount: boolean = ((): boolean => {
  if (process.getuid?.() !== 0 || !can("mount", "--version")) return false;
  using folder = temporaryFolder();
  try {
    using _memory = smallDisk(folder.path, 1 << 20);
    using _image = ImageDisk.make(folder.path, 8 << 20);
    return true;
  } catch {
    return false;
  }
})();
