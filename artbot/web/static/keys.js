// Single keys: silent while somebody writes, and where they are switched off (WCAG 2.1.4).

const NAMES = { " ": "space", ArrowLeft: "left", ArrowRight: "right", ArrowUp: "up", ArrowDown: "down" };
const { keys = "{}", keysOff } = document.body.dataset;
const actionOf = new Map(Object.entries(JSON.parse(keys)));

export const isWriting = (element) => element?.matches("input:not([type=checkbox], [type=range]), textarea, select") ?? false;

/** `does`: what each action does; an action it lacks is none here. Gets the event. */
export function onKeys(does) {
  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.altKey || event.metaKey || event.defaultPrevented || event.isComposing) return;
    if (isWriting(event.target) || document.querySelector("dialog[open]")) return;
    const isSteered = event.target.matches("input[type=range], input[type=checkbox], summary, button");
    if (isSteered && (event.key === " " || event.key === "Enter" || event.key.startsWith("Arrow"))) return;
    if (event.target.matches("a") && event.key === "Enter") return;
    const key = NAMES[event.key] ?? (event.key.length === 1 ? event.key : event.key.toLowerCase());
    const action = does[`key ${key}`] ?? (keysOff === undefined ? does[actionOf.get(key)] : undefined);
    if (!action || (event.shiftKey && key in { left: 0, right: 0, up: 0, down: 0 })) return;
    event.preventDefault();
    action(event);
  });
}

// Who presses a button with a mouse goes on with keys: Space is theirs again, not the button's.
document.addEventListener("click", (event) => {
  if (event.detail > 0) event.target.closest("button, summary")?.blur();
});
