
"use strict";
const show = (id, text) => { document.getElementById(id).textContent = text; };
async function look() {
  try {
    const status = await (await fetch("/api/status", { cache: "no-store" })).json();
    show("state", status.gateway_state + (status.drained ? ", drained" : ""));
    show("active", status.active_agents);
    show("drain", !status.drain.active ? "none"
      : "since " + (status.drain.requested_at ?? "an unknown time")
        + (status.drain.expires_at ? " until " + status.drain.expires_at : ""));
    show("updated", status.gateway_updated_at ?? "never");
  } catch {
    show("state", "the dashboard does not answer");
  }
  setTimeout(look, 1000);
}
look();
