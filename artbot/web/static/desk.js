// What the page knows of each picture, and the acts on their way to the desk: one at a time, in the order in which
// they were done, so that each one says of the picture what the one before it left.

import { sayOffline } from "./say.js";

export const tiles = new Map();
const painters = [];
const onTheirWay = new Map();
const refusedSince = new Map();
let tail = Promise.resolve();
let numWaiting = 0;

export const isUndecided = (tile) => tile && (tile.state === "pending" || tile.state === "later");
export const pictureOf = (tile) => `/pictures/${tile.id}/${tile.sha}.png`;

/** Who shows a picture is told what it is now. */
export function onChange(paint) { painters.push(paint); }

export function know(tile) {
  const known = tiles.get(tile.id);
  const now = { ...known, ...tile };
  tiles.set(now.id, now);
  for (const paint of painters) paint(now, known);
  return now;
}

/** What the markup says of its pictures. */
export function read(root) {
  for (const element of root.querySelectorAll("[data-id][data-sha]")) {
    const { id, name, state, stars, sha, version, width, height } = element.dataset;
    const known = tiles.get(Number(id));
    if (known && known.version >= Number(version)) continue;
    tiles.set(Number(id), {
      id: Number(id), name, state, stars: Number(stars), sha, version: Number(version),
      width: Number(width), height: Number(height),
    });
  }
}

export const fromServer = (tile) => ({
  id: tile.id, name: tile.name, state: tile.state, stars: tile.stars, sha: tile.seen.image_sha256,
  version: tile.seen.row_version, width: tile.width_px, height: tile.height_px,
});

export const isBusy = (id) => (id === undefined ? numWaiting > 0 : (onTheirWay.get(id) ?? 0) > 0);
export const settled = () => tail;

/**
 * Send an act behind those before it; `change` shows at once. Resolves to {ok, data, status}, never rejects:
 * `ok` is false if it was refused, and the picture is shown again as it is.
 * Of a picture whose act was refused, those that were done after it without knowing are left out (`isLeftOut`).
 */
export function send(path, { id, fields = [], change } = {}) {
  const before = id === undefined ? undefined : tiles.get(id);
  const round = refusedSince.get(id) ?? 0;
  wait(1);
  onTheirWay.set(id, (onTheirWay.get(id) ?? 0) + 1);
  if (before && change) know({ id, ...change });
  const sent = tail.then(async () => {
    if (id !== undefined && round !== (refusedSince.get(id) ?? 0)) return { ok: false, isLeftOut: true, data: {} };
    const answer = await post(path, [...fields, ...seen(id)]);
    const now = answer.data.tile && fromServer(answer.data.tile);
    const isSo = !answer.ok && change?.state && now?.state === change.state;  // the answer to a first try was lost
    answer.ok ||= Boolean(isSo && answer.tries > 1);
    if (!answer.ok) {
      refusedSince.set(id, round + 1);
      if (before && !now) know({ ...before, version: tiles.get(id).version });
    }
    onTheirWay.set(id, onTheirWay.get(id) - 1);
    for (const tile of [now, ...(answer.data.tiles ?? []).map(fromServer)]) {
      if (tile && (!answer.ok || !isBusy(tile.id))) know(tile);
      else if (tile) know({ id: tile.id, version: tile.version, sha: tile.sha });
    }
    onTheirWay.set(id, onTheirWay.get(id) + 1);
    return answer;
  }).finally(() => {
    wait(-1);
    onTheirWay.set(id, onTheirWay.get(id) - 1);
  });
  tail = sent.catch(() => undefined);
  return sent;
}

function wait(more) {
  numWaiting += more;
  document.body.dataset.waiting = numWaiting;
}

function seen(id) {
  const tile = tiles.get(id);
  return tile ? [["image_sha256", tile.sha], ["row_version", tile.version]] : [];
}

async function post(path, fields) {
  const body = new URLSearchParams([["csrf", document.body.dataset.csrf], ...fields.map(([name, value]) => [name, String(value)])]);
  for (let tries = 1, pause = 400; ; tries += 1, pause = Math.min(2 * pause, 6000)) {
    try {
      const response = await fetch(path, { method: "POST", body, headers: { Accept: "application/json" } });
      const data = await response.json().catch(() => ({ error: `artbot answers ${response.status}.` }));
      sayOffline(0);
      return { ok: response.ok, status: response.status, data, tries };
    } catch {
      sayOffline(numWaiting);
      await new Promise((resolve) => {
        setTimeout(resolve, pause);
        addEventListener("online", resolve, { once: true });
      });
    }
  }
}

/** A question that changes nothing; undefined if there is no answer. */
export async function ask(path, options = {}) {
  try {
    return await fetch(path, options);
  } catch {
    return undefined;
  }
}

/** To another page, when everything is sent. */
export async function leave(url) {
  await tail;
  location.assign(url);
}

// On the window, so that whoever shows the link's page without leaving this one has had the event before.
addEventListener("click", (event) => {
  const link = event.target.closest("a[href]");
  if (!link || !isBusy() || event.defaultPrevented || link.target || event.ctrlKey || event.metaKey || event.shiftKey) return;
  if (link.origin !== location.origin || link.hash) return;
  event.preventDefault();
  leave(link.href);
});
addEventListener("beforeunload", (event) => { if (isBusy()) event.preventDefault(); });
