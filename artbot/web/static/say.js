// What the page tells a person, for eyes and for ears: one line that goes again, and two that stay.

const [toast, alarm, offline] = ["toast", "alarm", "offline"].map((id) => document.getElementById(id));
const TOAST_MS = 7000;
let timer = 0;

export const capital = (words) => words.charAt(0).toUpperCase() + words.slice(1);

function put(place, words, label, does) {
  place.replaceChildren(capital(words ?? ""));
  if (label) {
    const button = document.createElement("button");
    button.type = "button";
    button.textContent = label;
    button.addEventListener("click", () => { place.hidden = true; does(); });
    place.append(button);
  }
  place.hidden = !words;
}

let numSaid = 0;

export function say(words, label, does) {
  numSaid += 1;
  put(toast, words, label, does);
  clearTimeout(timer);
  timer = setTimeout(() => { toast.hidden = true; }, TOAST_MS);
}

/** To say what an answer brings: nothing, if something newer was said before it came. */
export function sayThen() {
  const before = numSaid;
  return (...told) => { if (numSaid === before) say(...told); };
}

/** What went wrong; it stays until the next act. */
export function warn(words, label, does) {
  toast.hidden = true;
  put(alarm, words, label, does);
}

export function calm() { alarm.hidden = true; }

export function sayOffline(numWaiting) {
  const acts = numWaiting === 1 ? "Your last decision waits" : `Your last ${numWaiting} decisions wait`;
  const words = numWaiting ? `artbot does not answer. ${acts} here and will be sent; leave this page open.` : "";
  if (offline.textContent !== words) put(offline, words);
}
