"use strict";
(() => {
  const { prefix, mount, signedIn } = window.__PORTCULLIS__;
  const token = window.__HERMES_SESSION_TOKEN__;
  const at = (id) => document.getElementById(id);
  const show = (id, text) => { const cell = at(id); if (cell && cell.textContent !== text) cell.textContent = text; };
  const when = (time) => time ? new Date(time).toLocaleString() : "unknown";
  const seconds = (number) => number == null ? "-" : number.toFixed(1) + " s";
  const ms = (seconds) => seconds == null ? "-" : (seconds * 1e3).toFixed(2) + " ms";
  const api = (path, body) => fetch(prefix + path, {
    method: "POST", body: JSON.stringify(body), redirect: "manual",
    headers: { "Content-Type": "application/json", ...(token ? { "X-Hermes-Session-Token": token } : {}) },
  });
  const rows = (id, list, cells, empty, columns) => {
    const made = list.map((item) => {
      const row = document.createElement("tr");
      for (const text of cells(item)) row.insertCell().textContent = text;
      return row;
    });
    if (made.length === 0) {
      const cell = document.createElement("tr").insertCell();
      Object.assign(cell, { colSpan: columns, className: "muted", textContent: empty });
      made.push(cell.parentElement);
    }
    at(id)?.replaceChildren(...made);
  };

  const age = (since) => {
    const seconds = Math.max(0, Math.round((Date.now() - new Date(since)) / 1000));
    return seconds < 60 ? seconds + " s" : Math.floor(seconds / 60) + " min " + (seconds % 60) + " s";
  };
  let turns = [];
  const showTurns = () =>
    rows("turns", turns, (turn) => [turn.session, when(turn.since), age(turn.since)], "none", 3);
  setInterval(() => { if (turns.length) showTurns(); }, 1000);

  const holders = ({ holders, principal }) => {
    const named = (holders ?? []).map(({ owner, reason }) => reason ? `${owner} (${reason})` : owner);
    return named.join(", ") || (principal ?? "unknown");
  };
  const showDrain = (drain) => {
    if (!at("drain-form")) return;
    show("drain", drain.active ? "on" : "off");
    show("drain-by", drain.active ? holders(drain) : "-");
    show("drain-since", drain.active ? when(drain.requested_at) : "-");
    show("drain-until", !drain.active ? "-" : drain.expires_at ? when(drain.expires_at) : "it is cancelled");
    at("drain-action").value = drain.active ? "cancel" : "drain";
    show("drain-button", drain.active ? "Cancel the drain" : "Begin a drain");
  };
  const showProviders = (list) => rows("providers", list, (provider) => {
    const { state = "native", latency, spent, faults = [] } = provider.health ?? {};
    const fault = faults[0] ? faults[0].reason + " (" + when(faults[0].at) + ")" : "none";
    return [provider.name, state, ms(latency?.median_seconds), ms(latency?.p99_seconds),
      seconds(spent?.cpu_seconds), seconds(spent?.held_up_seconds), fault];
  }, "none", 7);

  let records = [];
  const details = ({ ts, event, ...fields }) =>
    Object.entries(fields).filter(([, value]) => value !== null)
      .map(([key, value]) => key + "=" + (key === "component" ? value.slice(0, 12) : value)).join("  ");
  const showAudit = () => {
    const wanted = at("audit-filter").value.trim().toLowerCase();
    const matches = (record) => JSON.stringify(record).toLowerCase().includes(wanted);
    rows("audit", records.filter(matches).slice(0, 200),
      (record) => [when(record.ts), record.event, details(record)], "nothing", 3);
  };
  at("audit-filter")?.addEventListener("input", showAudit);

  const handlers = {
    status(message) {
      show("unknown-because", message.gateway_unknown_because ?? "-");
      show("state", message.gateway_state + (message.drained ? ", drained" : ""));
      show("active", String(message.active_agents));
      show("updated", when(message.gateway_updated_at));
      turns = message.turns;
      showTurns();
      showDrain(message.drain);
    },
    providers(message) { showProviders(message.providers); },
    audit(message) { records = [...message.records.toReversed(), ...records].slice(0, 1000); showAudit(); },
    audit_missed(message) { show("connection", message.missed + " audit lines were missed"); },
  };

  let wait = 500;
  const later = (why) => {
    show("connection", why);
    setTimeout(connect, wait);
    wait = Math.min(wait * 2, 10_000);
  };
  async function connect() {
    let answer;
    try {
      answer = await api("/api/auth/ws-ticket", {});
    } catch {
      return later("The dashboard does not answer.");
    }
    if (answer.status === 401 && signedIn) {
      const here = location.pathname.slice(prefix.length) + location.search;
      return location.assign(prefix + "/login?next=" + encodeURIComponent(here));
    }
    if (!answer.ok) return later("No live updates (" + answer.status + ").");
    const { ticket } = await answer.json();
    const url = new URL(prefix + mount + "/api/ws?ticket=" + ticket, location.href);
    url.protocol = url.protocol.replace("http", "ws");
    const socket = new WebSocket(url);
    socket.onopen = () => { wait = 500; records = []; show("connection", "live"); };
    socket.onmessage = ({ data }) => { const message = JSON.parse(data); handlers[message.type]?.(message); };
    socket.onclose = () => later("Connecting again…");
  }

  at("drain-form")?.addEventListener("submit", async (event) => {
    event.preventDefault();
    at("drain-button").disabled = true;
    try {
      const answer = await api(mount + "/api/drain", { action: at("drain-action").value, force: true });
      const body = await answer.json();
      show("drain-message", answer.ok ? "" : body.detail ?? "It failed.");
    } catch {
      show("drain-message", "The dashboard does not answer.");
    }
    at("drain-button").disabled = false;
  });
  at("restart-form")?.addEventListener("submit", async (event) => {
    event.preventDefault();
    at("restart-button").disabled = true;
    const grace = at("restart-grace").value, reason = at("restart-reason").value.trim();
    try {
      const answer = await api(mount + "/api/restart", {
        ...(grace !== "" && { grace_seconds: Number(grace) }), ...(reason !== "" && { reason }),
      });
      const body = await answer.json();
      show("restart-message", answer.ok ? "The gateway restarts." : body.detail ?? "It failed.");
      if (answer.ok) at("restart").open = false;
    } catch {
      show("restart-message", "The dashboard does not answer.");
    }
    at("restart-button").disabled = false;
  });
  connect();
})();
