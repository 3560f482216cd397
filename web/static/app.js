// Reading works without this file: it adds live numbers and keys.
"use strict";

// A part of a page that is live: <div data-live="ADDRESS of events"> holds elements with ids; a
// message has the id and the new inner HTML, which the server has escaped. A page that nobody sees
// is not kept live: browsers open few connections to one server. A part in which the keyboard is
// changes when the keyboard leaves it.
for (const live of document.querySelectorAll("[data-live]")) {
  const late = new Map();
  let events = null;
  const show = ({ data }) => {
    const { id, html } = JSON.parse(data);
    const part = document.getElementById(id);
    if (!part || !live.contains(part)) return;
    if (part.contains(document.activeElement)) late.set(part, html);
    else part.innerHTML = html;
  };
  const follow = () => {
    if (events) events.close();
    events = document.hidden ? null : new EventSource(live.dataset.live);
    if (events) events.onmessage = show;
  };
  live.addEventListener("focusout", ({ target, relatedTarget }) => {
    for (const [part, html] of late) {
      if (!part.contains(target) || part.contains(relatedTarget)) continue;
      late.delete(part);
      setTimeout(() => { part.innerHTML = html; });
    }
  });
  addEventListener("visibilitychange", follow);
  addEventListener("pageshow", follow);
  addEventListener("pagehide", () => events && events.close());
  follow();
}

// <a data-key="j"> is followed when that key is pressed outside a field.
addEventListener("keydown", (event) => {
  const inField = event.target.closest("input, textarea, select, [contenteditable]");
  if (inField || event.ctrlKey || event.altKey || event.metaKey) return;
  const link = document.querySelector(`a[data-key="${CSS.escape(event.key)}"]`);
  if (link) link.click();
});
