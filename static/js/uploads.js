// Uploads: cut in the Worker, ask which blocks are new, send only those, commit.
//
// A task is one file. Small files travel in groups that share one init, one pack and one
// commit; a larger file goes alone. Four of either are under way at a time. Nothing counts as
// done before the server has answered the commit.

import { api, explain, newId, pause, persist, Problem } from "./api.js";
import { Hashers } from "./hashing.js";
import { MIN_BLOCK_BYTES } from "./chunker.js";
import { sendBlocks, sendPack } from "./sending.js";

const LANES = 4;
const GROUP_FILES = 100;
const GROUP_BYTES = 7 * 1024 * 1024;
const FOLDERS_PER_BATCH = 500;
const NAMES_PER_CALL = 1000;
const BLOCKS_PER_CALL = 10_000;
const COMMIT_ATTEMPTS = 5;

/** waiting (→ asking) → hashing → sending → finishing → done | failed | cancelled */
export class Task {
  state = "waiting";
  detail = "";
  onConflict = "new_version";
  hashedBytes = 0;
  sentBytes = 0;
  // What the server already had: counted as saved, never as speed.
  savedBytes = 0;
  upload = null;

  // What the init says beside: which file, which version, what on a conflict.
  target = {};

  constructor(file, folders, parentFolderId) {
    this.id = newId();
    this.file = file;
    this.folders = folders;
    this.parentFolderId = parentFolderId;
    this.controller = new AbortController();
  }

  get name() {
    return [...this.folders, this.file.name].join("/");
  }

  get isOver() {
    return this.state === "done" || this.state === "failed" || this.state === "cancelled";
  }

  /** What could not be read at all, or has no folder, has nothing to try again with. */
  get canRetry() {
    return this.file instanceof Blob && this.parentFolderId !== null;
  }

  /** Finished, from 0 to 1. Hashing counts a quarter. */
  get progress() {
    if (this.isOver) return 1;
    const size = Math.max(1, this.file.size);
    return Math.min(1, 0.25 * (this.hashedBytes / size) + 0.75 * ((this.sentBytes + this.savedBytes) / size));
  }
}

/**
 * All uploads of this page. Fires "change" whenever something about a task changed, and
 * "committed" with `detail` the file that the server made or changed.
 *
 * `askAboutTaken`: see taken.js.
 */
export class Uploads extends EventTarget {
  tasks = [];
  // Why nothing moves at the moment ("" when it does).
  stalled = "";
  isPaused = false;
  #queue = [];
  #running = 0;
  #hashers;
  #askAboutTaken;
  // Resolved but for a pause; `#goOn` ends that.
  #going = Promise.resolve();
  #goOn = () => {};
  // One question at a time.
  #asking = Promise.resolve();

  constructor(workerUrl, askAboutTaken) {
    super();
    this.#hashers = new Hashers(workerUrl);
    this.#askAboutTaken = askAboutTaken;
  }

  get isBusy() {
    return this.tasks.some((task) => !task.isOver);
  }

  /**
   * Upload what `readDrop` or `readInput` found into a folder.
   *
   * Makes the folders first, empty ones too; a folder that is there already is used.
   */
  async add({ files, folders, unreadable }, parentFolderId) {
    const added = files.map(({ file, folders: path }) => new Task(file, path, parentFolderId));
    for (const { name, reason } of unreadable) {
      this.#lost(name, `Could not be read (${reason}). Nothing of it was uploaded.`);
    }
    this.tasks.push(...added);
    this.#changed();
    let ids;
    try {
      ids = await this.#makeFolders(folders, parentFolderId);
    } catch (error) {
      const reason = `The folders could not be made. ${explain(error)}`;
      for (const task of added) {
        if (!task.isOver) this.#settle(task, "failed", reason);
      }
      if (added.length === 0) this.#lost(folders[0].join("/"), reason);
      return;
    }
    // A folder without files has no task that could tell what became of it.
    const told = new Set(added.map((task) => task.folders.join("/")));
    for (const path of folders.map((names) => names.join("/"))) {
      const { problem } = ids.get(path);
      if (problem && !told.has(path)) this.#lost(path, `The folder could not be made: ${problem}`);
    }
    const doubtful = [];
    for (const task of added) {
      const made = ids.get(task.folders.join("/"));
      if (task.isOver) continue;
      if (made?.problem) {
        this.#settle(task, "failed", `Its folder could not be made: ${made.problem}`);
        continue;
      }
      task.parentFolderId = made.id;
      // In a folder that was made just now no name is taken.
      (made.isNew ? this.#queue : doubtful).push(task);
    }
    this.#run();
    await this.#addDoubtful(doubtful);
  }

  /** Nothing more is begun until `resume`; what is on its way arrives. */
  pause() {
    if (this.isPaused) return;
    this.isPaused = true;
    this.#going = new Promise((resolve) => (this.#goOn = resolve));
    this.#changed();
  }

  resume() {
    this.isPaused = false;
    this.#goOn();
    this.#changed();
  }

  /** Send one content beside all others, with a `target`; the result of its commit. */
  async save(file, parentFolderId, target) {
    const task = new Task(file, [], parentFolderId);
    task.target = target;
    await this.#carry([task]);
    if (task.state !== "done") throw new Error(task.detail);
    return task.result;
  }

  /** Give one task up. What has arrived of it is not thrown away: adding it again goes on. */
  cancel(task) {
    if (task.isOver) return;
    task.controller.abort(new DOMException("Cancelled", "AbortError"));
    this.#settle(task, "cancelled", "Cancelled");
    this.#queue = this.#queue.filter((queued) => queued !== task);
  }

  cancelAll() {
    for (const task of this.tasks) this.cancel(task);
  }

  /** Try a failed or cancelled task once more. */
  retry(task) {
    const again = new Task(task.file, task.folders, task.parentFolderId);
    again.onConflict = task.onConflict;
    this.tasks.splice(this.tasks.indexOf(task), 1, again);
    this.#queue.push(again);
    this.#changed();
    this.#run();
  }

  retryFailed() {
    for (const task of this.tasks) {
      if (task.state === "failed" && task.canRetry) this.retry(task);
    }
  }

  /** Forget what is over. */
  clear() {
    this.tasks = this.tasks.filter((task) => !task.isOver);
    this.#changed();
  }

  /** What could not even be begun is listed like what failed later. */
  #lost(name, reason) {
    const task = new Task({ name, size: 0 }, [], null);
    this.tasks.push(task);
    this.#settle(task, "failed", reason);
  }

  // --- Folders

  async #makeFolders(folders, parentFolderId) {
    const ids = new Map([["", { id: parentFolderId }]]);
    const deepest = folders.reduce((most, path) => Math.max(most, path.length), 0);
    for (let depth = 1; depth <= deepest; depth++) {
      const level = folders.filter((path) => path.length === depth);
      for (let at = 0; at < level.length; at += FOLDERS_PER_BATCH) {
        const some = level.slice(at, at + FOLDERS_PER_BATCH);
        await this.#makeLevel(some, ids);
      }
    }
    return ids;
  }

  async #makeLevel(paths, ids) {
    const wanted = [];
    for (const path of paths) {
      const above = ids.get(path.slice(0, -1).join("/"));
      if (above.problem) ids.set(path.join("/"), above);
      else wanted.push({ path, parentId: above.id });
    }
    if (wanted.length === 0) return;
    const items = wanted.map(({ path, parentId }) => ({
      op: "create_folder",
      op_id: newId(),
      folder_id: newId(),
      parent_folder_id: parentId,
      name: path.at(-1),
    }));
    const { items: results } = await this.#persist(() => api("POST", "/batch", { items }));
    results.forEach((result, index) => {
      const made = result.problem
        ? { problem: result.problem.detail || result.problem.title }
        : { id: result.item.folder_id, isNew: result.status === 201 };
      ids.set(wanted[index].path.join("/"), made);
    });
  }

  // --- Names that are taken

  /** Those whose names are free begin at once; about the others the person is asked. */
  async #addDoubtful(tasks) {
    const taken = [];
    for (let at = 0; at < tasks.length; at += NAMES_PER_CALL) {
      const some = tasks.slice(at, at + NAMES_PER_CALL);
      await this.#guard(some, async () => {
        for (const [index, item] of (await this.#lookUp(some)).entries()) {
          const task = some[index];
          if (task.isOver) continue;
          if (!item || isSame(task.file, item)) {
            this.#queue.push(task);
          } else {
            this.#enter(task, "asking");
            taken.push({ task, item });
          }
        }
      });
      this.#run();
    }
    if (taken.length === 0) return;
    this.#asking = this.#asking.then(async () => {
      const open = taken.filter(({ task }) => !task.isOver);
      const choices = open.length > 0 ? await this.#askAboutTaken(open) : [];
      for (const [index, { task }] of open.entries()) {
        if (choices === null) this.cancel(task);
        else if (task.isOver) continue;
        else if (choices[index] === "skip") this.#settle(task, "cancelled", "Skipped: the one here stays");
        else {
          task.onConflict = choices[index];
          this.#enter(task, "waiting");
          this.#queue.push(task);
        }
      }
      this.#run();
    });
    await this.#asking;
  }

  /** Who has the names of these tasks' files. What cannot be looked up is refused at init. */
  async #lookUp(tasks) {
    const items = tasks.map((task) => ({ parent_folder_id: task.parentFolderId, name: task.file.name }));
    const answer = await this.#persist(() => api("POST", "/nodes/lookup", { items }), tasks);
    return answer.items.map(({ item }) => item);
  }

  // --- Lanes

  #run() {
    while (this.#running < LANES && this.#queue.length > 0) {
      const group = this.#nextGroup();
      this.#running += 1;
      this.#carry(group).finally(() => {
        this.#running -= 1;
        this.#run();
      });
    }
  }

  #nextGroup() {
    const group = [this.#queue.shift()];
    if (!isSmall(group[0])) return group;
    let bytes = group[0].file.size;
    const left = [];
    for (const task of this.#queue) {
      const fits = group.length < GROUP_FILES && bytes + task.file.size <= GROUP_BYTES;
      if (fits && isSmall(task)) {
        bytes += task.file.size;
        group.push(task);
      } else {
        left.push(task);
      }
    }
    this.#queue = left;
    return group;
  }

  /** Bring a group to its end. Every task is over afterwards. */
  async #carry(group) {
    const cut = [];
    await Promise.all(
      group.map((task) => this.#guard([task], async () => {
        await this.#going;
        this.#enter(task, "hashing");
        const { blocks, content_hash } = await this.#hashers.blocksOf(task.file, {
          signal: task.controller.signal,
          onProgress: (bytes) => {
            task.hashedBytes = bytes;
            this.#changed();
          },
        });
        task.blocks = blocks;
        task.contentHash = content_hash;
        task.hashedBytes = task.file.size;
        cut.push(task);
      })),
    );
    const alive = cut.filter((task) => !task.isOver);
    if (alive.length === 0) return;
    await this.#guard(alive, () => this.#upload(alive));
  }

  async #upload(group) {
    for (let attempt = 1; ; attempt++) {
      const begun = await this.#init(group);
      if (begun.length === 0) return;
      await this.#send(begun);
      const again = await this.#commit(begun.filter((task) => !task.isOver));
      if (again.length === 0) return;
      if (attempt === COMMIT_ATTEMPTS) {
        for (const task of again) {
          this.#settle(task, "failed", "The upload expired several times. Add the file again.");
        }
        return;
      }
      group = again;
    }
  }

  async #init(group) {
    const items = group.map((task) => ({
      op_id: newId(),
      name: task.file.name,
      parent_folder_id: task.parentFolderId,
      size_bytes: task.file.size,
      content_hash: task.contentHash,
      client_modified_ns: `${task.file.lastModified}000000`,
      executable: false,
      on_conflict: task.onConflict,
      block_count: task.blocks.length,
      blocks: task.blocks.slice(0, BLOCKS_PER_CALL),
      ...task.target,
    }));
    const { items: results } = await this.#persist(
      () => api("POST", "/files/upload/init", { items }),
      group,
    );
    const begun = [];
    for (const [index, task] of group.entries()) {
      const result = results[index];
      if (task.isOver) continue;
      if (result.problem) {
        this.#settle(task, "failed", explain(new Problem(result.status, result.problem)));
        continue;
      }
      task.upload = {
        id: result.upload_id,
        states: new Map(result.blocks.map((block) => [block.block_hash, block.state])),
        urls: new Map(result.uploads.map((upload) => [upload.block_hash, upload])),
      };
      for (let at = BLOCKS_PER_CALL; at < task.blocks.length; at += BLOCKS_PER_CALL) {
        const body = { start_index: at, blocks: task.blocks.slice(at, at + BLOCKS_PER_CALL) };
        const more = await this.#persist(
          () => api("POST", `/files/upload/${task.upload.id}/blocks`, body),
          [task],
        );
        for (const block of more.blocks) task.upload.states.set(block.block_hash, block.state);
      }
      const held = (block) => task.upload.states.get(block.block_hash) === "held";
      task.savedBytes = sum(task.blocks.filter(held), (block) => block.size_bytes);
      this.#enter(task, "sending");
      begun.push(task);
    }
    return begun;
  }

  async #send(group) {
    const context = {
      persist: (action, tasks) => this.#persist(action, tasks),
      onProgress: () => this.#changed(),
    };
    const small = group.filter(isSmall);
    if (small.length > 0) await sendPack(small, context);
    for (const task of group) {
      if (!isSmall(task)) await sendBlocks(task, context);
    }
  }

  /** Commit; the tasks that have to begin again are returned. */
  async #commit(group) {
    let open = group;
    const again = [];
    for (let attempt = 1; open.length > 0; attempt++) {
      for (const task of open) this.#enter(task, "finishing");
      const items = open.map((task) => ({ upload_id: task.upload.id }));
      const { items: results } = await this.#persist(
        () => api("POST", "/files/upload/commit", { items }),
        open,
      );
      const retry = [];
      for (const [index, task] of open.entries()) {
        const result = results[index];
        if (task.isOver) continue;
        const code = result.problem?.code;
        if (result.problem === undefined) {
          this.#committed(task, result);
        } else if (code === "upload-expired") {
          again.push(task);
        } else if ((code === "missing-blocks" || code === "verify-first") && attempt < COMMIT_ATTEMPTS) {
          for (const hash of result.problem.block_hashes ?? []) task.upload.states.set(hash, "send");
          if (code === "verify-first") await this.#verify(task);
          retry.push(task);
        } else {
          this.#settle(task, "failed", explain(new Problem(result.status, result.problem)));
        }
      }
      const lacking = retry.filter((task) => [...task.upload.states.values()].includes("send"));
      if (lacking.length > 0) await this.#send(lacking);
      open = retry.filter((task) => !task.isOver);
    }
    return again;
  }

  /** Tell the server what has arrived, until it has looked at all of it. */
  async #verify(task) {
    const hashes = [...task.upload.states.keys()];
    for (let at = 0; at < hashes.length; at += 1000) {
      const done = hashes.slice(at, at + 1000);
      for (let isVerified = false; !isVerified; ) {
        const answer = await this.#persist(
          () => api("POST", `/files/upload/${task.upload.id}/urls`, { done, want: [] }),
          [task],
        );
        const missing = new Set(answer.missing);
        isVerified = !done.some((hash) => missing.has(hash));
        if (!isVerified) await pause(1000, task.controller.signal);
      }
    }
  }

  #committed(task, result) {
    task.result = result;
    const isSame = result.outcome === "same";
    const sent = task.file.size - task.savedBytes;
    let detail = "Uploaded";
    if (result.is_conflict_copy) detail = `Kept beside the other one as “${result.file.name}”`;
    else if (isSame) detail = "Already here, unchanged";
    else if (task.file.size > 0 && sent === 0) detail = "Already here, nothing sent";
    this.#settle(task, "done", detail);
    this.dispatchEvent(new CustomEvent("committed", { detail: result.file }));
  }

  // --- What happens to tasks

  async #guard(tasks, action) {
    try {
      await action();
    } catch (error) {
      for (const task of tasks) {
        if (!task.isOver) this.#settle(task, "failed", explain(error));
      }
      if (!("isTransient" in error) && error.name !== "AbortError") console.error(error);
    }
  }

  /** Repeat while the network or the server is away; ends when all tasks are cancelled. */
  async #persist(action, tasks = null) {
    const controller = new AbortController();
    const check = () => {
      if (tasks !== null && tasks.every((task) => task.controller.signal.aborted)) {
        controller.abort(new DOMException("Cancelled", "AbortError"));
      }
    };
    for (const task of tasks ?? []) task.controller.signal.addEventListener("abort", check);
    check();
    try {
      const unpaused = async () => {
        await this.#going;
        controller.signal.throwIfAborted();
        return await action();
      };
      const answer = await persist(unpaused, {
        signal: controller.signal,
        onWait: (error) => {
          this.stalled = `${error.message} What was sent is kept; trying again.`;
          this.#changed();
        },
      });
      if (this.stalled) {
        this.stalled = "";
        this.#changed();
      }
      return answer;
    } finally {
      for (const task of tasks ?? []) task.controller.signal.removeEventListener("abort", check);
    }
  }

  #enter(task, state) {
    if (task.isOver) return;
    task.state = state;
    this.#changed();
  }

  #settle(task, state, detail) {
    task.state = state;
    task.detail = detail;
    if (this.isPaused && !this.isBusy) this.resume();
    this.#changed();
  }

  #changed() {
    this.dispatchEvent(new Event("change"));
  }
}

/** One block, that travels in a pack with others. */
function isSmall(task) {
  return task.file.size <= MIN_BLOCK_BYTES;
}

/** Chosen again after a part of a drop was lost: as large and as old as what is there. */
function isSame(file, item) {
  return (
    item.type === "file" &&
    item.size_bytes === file.size &&
    Math.round(item.client_modified_ns / 1e6) === file.lastModified
  );
}

function sum(list, value) {
  return list.reduce((total, item) => total + value(item), 0);
}
