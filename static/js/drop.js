// What was dropped or chosen: files with their folders, however deep. Nothing is left out
// silently: what cannot be read is returned with its reason.

/**
 * Everything in a drop, as `{ files: [{ file, folders }], folders: [path], unreadable }`.
 *
 * `folders` of a file is its path below the place of the drop, as a list of names; the
 * `folders` of the whole are all folders found, empty ones too. Call it inside the event:
 * the entries are gone afterwards.
 */
export async function readDrop(dataTransfer) {
  const found = { files: [], folders: [], unreadable: [] };
  const walks = [];
  for (const item of dataTransfer.items) {
    if (item.kind !== "file") continue;
    const entry = item.webkitGetAsEntry?.() ?? null;
    if (entry !== null) {
      walks.push(walk(entry, [], found));
    } else {
      // Made by a script or pasted: there is no entry, only a file.
      const file = item.getAsFile();
      if (file !== null) found.files.push({ file, folders: [] });
    }
  }
  await Promise.all(walks);
  return found;
}

/** The files of an <input type=file>, with their folders where a folder was chosen. */
export function readInput(files) {
  const folders = new Map();
  const found = [...files].map((file) => {
    const path = (file.webkitRelativePath || file.name).split("/").slice(0, -1);
    for (let depth = 1; depth <= path.length; depth++) {
      folders.set(path.slice(0, depth).join("/"), path.slice(0, depth));
    }
    return { file, folders: path };
  });
  return { files: found, folders: [...folders.values()], unreadable: [] };
}

async function walk(entry, folders, found) {
  try {
    if (entry.isFile) {
      const file = await new Promise((resolve, reject) => entry.file(resolve, reject));
      found.files.push({ file, folders });
      return;
    }
    const path = [...folders, entry.name];
    found.folders.push(path);
    for (const child of await childrenOf(entry)) await walk(child, path, found);
  } catch (error) {
    found.unreadable.push({ name: [...folders, entry.name].join("/"), reason: error.message });
  }
}

async function childrenOf(directory) {
  const reader = directory.createReader();
  const children = [];
  // A call gives at most a hundred; only an empty answer means that there are no more.
  for (;;) {
    const some = await new Promise((resolve, reject) => reader.readEntries(resolve, reject));
    if (some.length === 0) return children;
    children.push(...some);
  }
}
