
"use strict";
const show = (id, text) => { document.getElementById(id).textContent = text; };
const when = (time) => time ? new Date(time).toLocaleString() : "an unknown time";
async function look() {
  try {
    const status = await (await fetch("/api/status", { cache: "no-store" })).json();
    show("state", status.gateway_state + (status.drained ? ", drained" : ""));
    show("active", status.active_agents);
    show("drain", !status.drain.active ? "none"
      : "since " + when(status.drain.requested_at)
        + (status.drain.expires_at ? ", until " + when(status.drain.expires_at) : ", until it is cancelled"));
    show("updated", status.gateway_updated_at ? when(status.gateway_updated_at) : "never");
  } catch {
    show("state", "the dashboard does not answer");
  }
  setTimeout(look, 1000);
}
look();
