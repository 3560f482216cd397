// Reading works without this file: it adds live numbers and keys.
"use strict";

// A part of a page that is live: <section data-live="ADDRESS of events"> holds elements with ids;
// an event has the id as its name and the new inner HTML, which the server has escaped, as its data.
for (const live of document.querySelectorAll("[data-live]")) {
  const events = new EventSource(live.dataset.live);
  events.onmessage = ({ data }) => {
    const { id, html } = JSON.parse(data);
    const part = document.getElementById(id);
    if (part && live.contains(part)) part.innerHTML = html;
  };
  addEventListener("pagehide", () => events.close());
}

// <a data-key="j"> is followed when that key is pressed outside a field.
addEventListener("keydown", (event) => {
  const inField = event.target.closest("input, textarea, select, [contenteditable]");
  if (inField || event.ctrlKey || event.altKey || event.metaKey) return;
  const link = document.querySelector(`a[data-key="${CSS.escape(event.key)}"]`);
  if (link) link.click();
});
