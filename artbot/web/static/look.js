// Pictures as large as their frame allows, zoomed and moved together; and swipes.

const CRISP_FROM = 4;  // screen pixels to one of the picture: below that, squares of uneven size would show
const MOST = 40;
const SWIPE_PX = 72;
const isStill = matchMedia("(prefers-reduced-motion: reduce)");

let view = { zoom: 1, isPixels: false, x: 0, y: 0 };
let frames = [];

const fitOf = (frame) => {
  const image = frame.querySelector("img.work");
  const width = image.naturalWidth || Number(image.getAttribute("width")), height = image.naturalHeight || Number(image.getAttribute("height"));
  const room = frame.getBoundingClientRect();
  let times = Math.min(room.width / width, room.height / height);
  if (times >= CRISP_FROM) times = Math.floor(times);
  return { image, width: width * times, height: height * times, times, room };
};

/** The frames in sight; they are looked at through one view. */
export function lookAt(root) {
  frames = [...root.querySelectorAll(".frame")].filter((frame) => frame.querySelector("img.work") && frame.offsetParent);
  for (const frame of frames) {
    if (frame.dataset.isHeard) continue;
    frame.dataset.isHeard = "yes";
    hear(frame);
  }
  draw();
}

function draw() {
  for (const frame of frames) {
    const fit = fitOf(frame), { image } = fit;
    const zoom = view.isPixels ? view.zoom / fit.times : view.zoom;
    const most = (size, room) => Math.max(0, (size * zoom - room) / 2);
    const held = (share, size, room) => Math.max(-most(size, room), Math.min(most(size, room), share * size * zoom));
    image.classList.add("fitted");
    image.classList.toggle("crisp", fit.times * zoom >= CRISP_FROM);
    image.style.width = `${fit.width}px`;
    image.style.height = `${fit.height}px`;
    image.style.transformOrigin = "50% 50%";
    image.style.transform = zoom === 1 && !view.x && !view.y ? "" : `translate(${held(view.x, fit.width, fit.room.width)}px, ${held(view.y, fit.height, fit.room.height)}px) scale(${zoom})`;
  }
}

export function resetView() { view = { zoom: 1, isPixels: false, x: 0, y: 0 }; }

/** Every pixel as it is, or the whole picture again; says which. */
export function togglePixels() {
  view = { zoom: 1, isPixels: !view.isPixels && view.zoom === 1, x: 0, y: 0 };
  draw();
  return view.isPixels;
}

export function zoomBy(factor, frame = frames[0], at) {
  if (!frame) return;
  const fit = fitOf(frame);
  const start = view.isPixels ? view.zoom / fit.times : view.zoom;
  const zoom = Math.max(1, Math.min(MOST, start * factor));
  const x = at ? (at.x - fit.room.left - fit.room.width / 2) / fit.width : 0;
  const y = at ? (at.y - fit.room.top - fit.room.height / 2) / fit.height : 0;
  // The point under the pointer stays where it is.
  view = { zoom, isPixels: false, x: hold(view.x + x / zoom - x / start, zoom), y: hold(view.y + y / zoom - y / start, zoom) };
  if (zoom === 1) resetView();
  draw();
}

export function moveBy(x, y) {
  view.x = hold(view.x + x, view.zoom);
  view.y = hold(view.y + y, view.zoom);
  draw();
}

const hold = (share, zoom) => { const most = view.isPixels ? 2 : Math.max(0, 0.5 - 0.1 / zoom); return Math.max(-most, Math.min(most, share)); };
const isZoomed = () => view.zoom !== 1 || view.isPixels;

function hear(frame) {
  const fingers = new Map();
  let start = null, apart = 0;
  frame.addEventListener("wheel", (event) => {
    event.preventDefault();
    zoomBy(Math.exp(-event.deltaY * (event.ctrlKey ? 0.01 : 0.0016)), frame, { x: event.clientX, y: event.clientY });
  }, { passive: false });
  // Else Chromium takes a quick swipe for a fling, and swallows the tap that follows it.
  frame.addEventListener("touchmove", (event) => event.preventDefault(), { passive: false });
  frame.addEventListener("pointerdown", (event) => {
    fingers.set(event.pointerId, event);
    frame.setPointerCapture(event.pointerId);
    start = fingers.size === 1 && event.pointerType !== "mouse" && !isZoomed() ? event : null;
    if (fingers.size === 2) { apart = distance(fingers); swiping(frame, 0, 0); }
  });
  frame.addEventListener("pointermove", (event) => {
    const before = fingers.get(event.pointerId);
    if (!before) return;
    fingers.set(event.pointerId, event);
    if (fingers.size === 2) {
      const now = distance(fingers), [one, other] = fingers.values();
      zoomBy(now / apart, frame, { x: (one.clientX + other.clientX) / 2, y: (one.clientY + other.clientY) / 2 });
      apart = now;
    } else if (isZoomed()) {
      const fit = fitOf(frame), zoom = view.isPixels ? view.zoom / fit.times : view.zoom;
      moveBy((event.clientX - before.clientX) / (fit.width * zoom), (event.clientY - before.clientY) / (fit.height * zoom));
    } else if (start) {
      swiping(frame, event.clientX - start.clientX, event.clientY - start.clientY);
    }
  });
  const end = (event) => {
    fingers.delete(event.pointerId);
    if (!start || event.pointerId !== start.pointerId) return;
    const verdict = event.type === "pointerup" ? verdictOf(event.clientX - start.clientX, event.clientY - start.clientY) : null;
    start = null;
    swiping(frame, 0, 0);
    // Once the finger's own events are over, for which what it touched must still be there.
    if (verdict) setTimeout(() => frame.dispatchEvent(new CustomEvent("swipe", { bubbles: true, detail: verdict })));
  };
  frame.addEventListener("pointerup", end);
  frame.addEventListener("pointercancel", end);
}

const distance = (fingers) => { const [one, other] = fingers.values(); return Math.hypot(one.clientX - other.clientX, one.clientY - other.clientY); };

function verdictOf(x, y) {
  if (Math.abs(x) >= SWIPE_PX && Math.abs(x) > 1.4 * Math.abs(y)) return x > 0 ? "approve" : "reject";
  return y <= -SWIPE_PX && Math.abs(y) > 1.4 * Math.abs(x) ? "later" : null;
}

function swiping(frame, x, y) {
  const label = frame.parentElement.querySelector(".verdict"), verdict = verdictOf(x, y);
  if (!label) return;
  const image = frame.querySelector("img.work");
  image.style.transform = (x || y) && !isStill.matches ? `translate(${x}px, ${Math.min(0, y)}px) rotate(${x / 60}deg)` : "";
  label.textContent = { approve: "✓ Approve", reject: "✕ Reject", later: "◷ Later" }[verdict] ?? "";
  label.style.opacity = verdict ? 1 : 0;
}

addEventListener("resize", draw);
