/** What every driver of the Files port does, as tests: run it against each of them. The functions of the test runner are arguments. */
import type { Files } from "@headrace/engine";
import type { Runner } from "../log-conformance.ts";

const bytesOf = (text: string): Uint8Array => new TextEncoder().encode(text);
const textOf = (bytes: Uint8Array): string => new TextDecoder().decode(bytes);

/** The code with which a call fails; undefined when it does not. */
const codeOf = (call: () => unknown): string | undefined => {
  try {
    call();
    return undefined;
  } catch (error) {
    return (error as NodeJS.ErrnoException).code;
  }
};

/** @param open gives files and an empty folder */
export const filesConformance = ({ test, equal }: Runner, open: () => { files: Files; folder: string }): void => {
  const written = (files: Files, path: string, text: string): void => {
    const descriptor = files.open(path, "w");
    files.write(descriptor, bytesOf(text), 0, text.length);
    files.close(descriptor);
  };

  test("bytes are read where they were written, and what is between them is zeros", async () => {
    const { files, folder } = open();
    const descriptor = files.open(`${folder}/a`, "wx+");
    equal(files.write(descriptor, bytesOf("xabcx"), 1, 3, 4), 3);
    equal(files.writev(descriptor, [bytesOf("1"), bytesOf("23")], 0), 3);
    equal(files.size(descriptor), 7);
    const into = new Uint8Array(10);
    equal(files.read(descriptor, into, 2, 8, 0), 7);
    equal([...into], [0, 0, ...bytesOf("123"), 0, ...bytesOf("abc"), 0]);
    equal(files.read(descriptor, into, 0, 8, 7), 0);
    files.fdatasync(descriptor);
    files.truncate(descriptor, 2);
    equal(files.size(descriptor), 2);
    files.close(descriptor);
    equal(textOf(files.readFile(`${folder}/a`)), "12");
  });

  test("a file that was cut and grows again has zeros where the old bytes were", async () => {
    const { files, folder } = open();
    written(files, `${folder}/a`, "abcdef");
    const descriptor = files.open(`${folder}/a`, "r+");
    files.truncate(descriptor, 2);
    files.write(descriptor, bytesOf("z"), 0, 1, 5);
    files.close(descriptor);
    equal([...files.readFile(`${folder}/a`)], [...bytesOf("ab"), 0, 0, 0, ...bytesOf("z")]);
  });

  test("w empties a file, a goes on at its end, without a position writing goes on where it was", async () => {
    const { files, folder } = open();
    written(files, `${folder}/a`, "old");
    const first = files.open(`${folder}/a`, "w");
    files.write(first, bytesOf("one"), 0, 3);
    files.write(first, bytesOf("two"), 0, 3);
    files.close(first);
    const second = files.open(`${folder}/a`, "a");
    files.write(second, bytesOf("end"), 0, 3);
    files.close(second);
    equal(textOf(files.readFile(`${folder}/a`)), "onetwoend");
  });

  test("names: rename replaces, link refuses, what is removed is gone and can still be read by whoever has it open", async () => {
    const { files, folder } = open();
    written(files, `${folder}/a`, "a");
    written(files, `${folder}/b`, "b");
    equal(
      codeOf(() => files.link(`${folder}/a`, `${folder}/b`)),
      "EEXIST",
    );
    files.link(`${folder}/a`, `${folder}/c`);
    files.rename(`${folder}/a`, `${folder}/b`);
    equal(files.list(folder).sort(), ["b", "c"]);
    equal(textOf(files.readFile(`${folder}/b`)), "a");
    const descriptor = files.open(`${folder}/b`, "r");
    files.remove(`${folder}/b`);
    equal(files.exists(`${folder}/b`), false);
    equal(files.read(descriptor, new Uint8Array(1), 0, 1, 0), 1);
    files.close(descriptor);
  });

  test("folders are made one by one, listed and synced", async () => {
    const { files, folder } = open();
    equal(
      codeOf(() => files.makeFolder(`${folder}/x/y`)),
      "ENOENT",
    );
    files.makeFolder(`${folder}/x`);
    files.makeFolder(`${folder}/x/y`);
    equal(files.list(`${folder}/x`), ["y"]);
    equal(
      codeOf(() => files.makeFolder(`${folder}/x`)),
      "EEXIST",
    );
    const descriptor = files.open(`${folder}/x`, "r");
    files.fsync(descriptor);
    files.close(descriptor);
    equal(files.freeBytes(folder) > 0, true);
  });

  test("what is not there fails with ENOENT, what must not be there with EEXIST", async () => {
    const { files, folder } = open();
    const missing = `${folder}/missing`;
    const calls = [
      () => files.open(missing, "r"),
      () => files.open(missing, "r+"),
      () => files.readFile(missing),
      () => files.list(missing),
      () => files.remove(missing),
      () => files.rename(missing, `${folder}/other`),
    ];
    for (const call of calls) equal(codeOf(call), "ENOENT");
    written(files, `${folder}/a`, "");
    equal(
      codeOf(() => files.open(`${folder}/a`, "wx+")),
      "EEXIST",
    );
  });
};
