"use strict";
(() => {
  const { prefix, mount, signedIn, title, name, version, now } = window.__PORTCULLIS__;
  const looks = new Map(Object.entries(window.__PORTCULLIS__.looks));
  const token = window.__HERMES_SESSION_TOKEN__;
  // This machine's clock may be wrong. A difference of up to 5 s counts as the time that the page took to arrive.
  const skew = Math.abs(now * 1000 - Date.now()) > 5_000 ? now * 1000 - Date.now() : 0;
  const at = (id) => document.getElementById(id);
  const slot = (root, name) => root.querySelector(`[data-is="${name}"]`);
  const MAX_SHOWN = 600;
  const put = (cell, text) => {
    const cut = text.slice(0, MAX_SHOWN);
    if (cell && cell.textContent !== cut) cell.textContent = cut;
  };
  const hide = (element, isHidden) => { if (element) element.hidden = isHidden; };
  const from = (id) => at(id).content.firstElementChild.cloneNode(true);
  const ms = (seconds) => seconds == null ? "-" : (seconds * 1e3).toFixed(2) + " ms";
  const tenths = (seconds) => seconds == null ? "-" : seconds.toFixed(1) + " s";
  const call = (method, path, body) => fetch(prefix + path, {
    method, body: body && JSON.stringify(body), redirect: "manual", signal: AbortSignal.timeout(30_000),
    headers: { ...(body && { "Content-Type": "application/json" }), ...(token && { "X-Hermes-Session-Token": token }) },
  });

  // Times: relative, with the exact one in `title`.
  const units = (number, ...sizes) => sizes.map(([size, unit], index) =>
    Math.floor((index ? number % sizes[index - 1][0] : number) / size) + " " + unit).join(" ");
  const span = (s) => s < 60 ? units(s, [1, "s"]) : s < 3600 ? units(s, [60, "min"]) : s < 172800 ? units(s, [3600, "h"]) : units(s, [86400, "d"]);
  const shown = {
    ago: (s) => Math.abs(s) < 5 ? "just now" : s > 0 ? span(s) + " ago" : "in " + span(-s),
    age: (s) => s < 60 ? Math.max(0, s) + " s" : s < 3600 ? units(s, [60, "min"], [1, "s"])
      : s < 86400 ? units(s, [3600, "h"], [60, "min"]) : units(s, [86400, "d"], [3600, "h"]),
  };
  const clock = (date) => {
    const time = date.toLocaleTimeString(undefined, { hourCycle: "h23" });
    const isToday = date.toDateString() === new Date().toDateString();
    return isToday ? time : date.toLocaleDateString(undefined, { day: "numeric", month: "short" }) + " " + time;
  };
  const tick = (time) => {
    const date = new Date(time.dateTime);
    const past = Math.round((Date.now() + skew - date) / 1000);
    put(time, time.dataset.as === "clock" ? clock(date) : shown[time.dataset.as](past));
  };
  const putTime = (time, moment, none = "unknown") => {
    const date = new Date(moment ?? NaN);
    if (isNaN(date)) {
      time.removeAttribute("datetime");
      time.removeAttribute("title");
      return put(time, moment ?? none);
    }
    time.dateTime = moment;
    time.title = date.toLocaleString(undefined, { dateStyle: "full", timeStyle: "long" });
    tick(time);
  };
  const times = () => document.querySelectorAll("time[datetime]");
  times().forEach((time) => putTime(time, time.dateTime));
  setInterval(() => times().forEach((time) => { if (time.dataset.as !== "clock") tick(time); }), 1000);

  // States: a word with its shape and its tone.
  const lookOf = (word) => looks.get(word) ?? looks.get("other");
  const putLook = (element, word) => {
    const [shape, tone] = lookOf(word);
    element.dataset.tone = tone;
    element.querySelector("use").setAttribute("href", "#shape-" + shape);
  };
  const putState = (element, word) => { putLook(element, word); put(element.lastElementChild, word); };
  const rows = (id, template, list, fill) => {
    const body = at(id);
    if (!body) return;
    // Rows stay where they are, so that what has the focus keeps it.
    while (body.children.length > list.length) body.lastElementChild.remove();
    list.forEach((item, index) => {
      const row = body.children[index] ?? body.appendChild(from(template));
      fill(row, item);
    });
  };

  const oldestOf = (turns) => turns.map(({ since }) => since).sort()[0];
  const showTurns = ({ turns, active_agents: all }) => {
    rows("turns", "turn-row", turns, (row, turn) => {
      put(slot(row, "session"), turn.session);
      putTime(slot(row, "since"), turn.since);
    });
    hide(at("turns-none"), turns.length > 0);
    hide(at("turns-table"), turns.length === 0);
    put(at("turns-more"), turns.length && all > turns.length ? `${turns.length} of ${all}` : "");
  };
  const putEnd = (root, expires) => {
    hide(slot(root, "until").parentElement, expires == null);
    hide(slot(root, "endless"), expires != null);
    if (expires != null) putTime(slot(root, "until"), expires);
  };
  const owners = (id, { holders }) => {
    rows(id, "owner-row", holders ?? [], (row, holder) => {
      put(slot(row, "owner"), holder.owner);
      put(slot(row, "reason"), holder.reason || "no reason given");
      putTime(slot(row, "since"), holder.requested_at);
      putEnd(row, holder.expires_at);
    });
  };
  const drainSays = ({ active_agents: all }, word) => {
    if (word === "drained") return "Drained: no turn is in flight";
    if (word !== "draining" || all == null) return "A drain is on, and the gateway is " + word;
    return `Draining: ${all} ${all === 1 ? "turn is" : "turns are"} still in flight`;
  };
  const showDrain = (status, word) => {
    const { drain, turns } = status;
    const notice = at("drain-notice");
    hide(notice, !drain.active);
    hide(at("end-dialog"), !drain.active);
    if (!drain.active) return at("end-dialog")?.close();
    putLook(notice, status.drained ? "drained" : "draining");
    put(slot(notice, "says"), drainSays(status, word));
    hide(slot(notice, "age"), turns.length === 0);
    if (turns.length) putTime(slot(notice, "oldest"), oldestOf(turns));
    putTime(slot(notice, "since"), drain.requested_at);
    putEnd(notice.querySelector("p"), drain.expires_at);
    owners("holders", drain);
    owners("end-holders", drain);
    const holders = drain.holders ?? [];
    hide(at("end-mine"), holders.length < 2 || !holders.some(({ owner }) => owner === name));
  };
  const showStatus = (status) => {
    const word = status.drained ? "drained" : status.gateway_state;
    putState(at("state").parentElement, word);
    const why = status.gateway_unknown_because;
    put(at("says"), why == null ? lookOf(word)[2] : `Not known: ${why}.`);
    put(at("active"), String(status.active_agents ?? "unknown"));
    putTime(at("oldest").firstElementChild, oldestOf(status.turns), "-");
    putTime(at("updated").firstElementChild, status.gateway_updated_at);
    if (at("restart")) at("restart").disabled = status.gateway_state === "stopped";
    hide(at("begin-stopped"), status.gateway_state !== "stopped");
    showTurns(status);
    showDrain(status, word);
    document.title = `${word} · ${title}`;
  };

  const BARS = 48;
  const showChart = (chart, all = []) => {
    const recent = all.slice(-BARS);
    const longest = Math.max(...recent, Number.MIN_VALUE);
    const bar = (time, index) => `M${(BARS - recent.length + index) * 2 + 1} 28v-${Math.min(28, Math.max(1, 28 * time / longest)).toFixed(1)}`;
    chart.firstElementChild.setAttribute("d", recent.map(bar).join(""));
    chart.setAttribute("aria-label", recent.length === 0 ? "No calls yet" : recent.length === 1 ? "The last call took " + ms(longest)
      : `Times of the last ${recent.length} calls, the newest at the right; the longest took ${ms(longest)}`);
  };
  const showProviders = (providers) => {
    rows("providers", "provider-row", providers, (row, provider) => {
      const { latency, spent, faults = [] } = provider.health ?? {};
      const kinds = [provider.signs_people_in && "sign-in", provider.takes_tokens && "tokens", provider.name];
      put(slot(row, "name"), provider.display_name);
      put(slot(row, "kinds"), kinds.filter(Boolean).join(" · "));
      putState(row.querySelector(".state"), provider.state);
      hide(slot(row, "latency"), latency == null);
      hide(slot(row, "idle"), latency != null);
      showChart(slot(row, "chart"), latency?.recent_seconds);
      put(slot(row, "median"), ms(latency?.median_seconds));
      put(slot(row, "p99"), ms(latency?.p99_seconds));
      put(slot(row, "cpu"), tenths(spent?.cpu_seconds));
      put(slot(row, "held"), tenths(spent?.held_up_seconds));
      const fault = provider.refused?.detail ?? faults[0]?.reason;
      put(slot(row, "fault"), fault ?? "no faults");
      slot(row, "fault").classList.toggle("muted", fault == null);
      hide(slot(row, "when"), !faults[0]);
      if (faults[0]) putTime(slot(row, "at"), faults[0].at);
    });
    hide(at("providers-none"), providers.length > 0);
  };

  // The people who are signed in. No message announces a change, so the list is read again every minute.
  const LISTED = 50;
  const showSessions = async () => {
    const answer = await call("GET", mount + "/api/sessions");
    if (!answer.ok) return;
    const all = (await answer.json()).sessions;
    const listed = all.toSorted((one, other) => (other.last_seen ?? "").localeCompare(one.last_seen ?? "")).slice(0, LISTED);
    rows("sessions", "session-row", listed, (row, session) => {
      row.dataset.id = session.id;
      put(slot(row, "user"), session.user_id);
      put(slot(row, "whose"), session.user_id);
      put(slot(row, "provider"), session.provider);
      const client = [session.current && "this browser", session.client, session.address];
      put(slot(row, "client"), client.filter(Boolean).join(" · "));
      slot(row, "client").title = session.user_agent ?? "";
      putTime(slot(row, "seen"), session.last_seen);
      putTime(slot(row, "since"), session.since);
    });
    const count = all.length === 1 ? "1 session" : `${all.length} sessions`;
    put(at("sessions-count"), all.length > LISTED ? `the last ${LISTED} of ${count}` : count);
  };
  const refreshSessions = () => { if (at("sessions") && !document.hidden) showSessions().catch(() => {}); };
  setInterval(refreshSessions, 60_000);
  document.addEventListener("visibilitychange", refreshSessions);

  let records = [];
  const toneOf = (event) => /failure|refused|rejected|fault|quarantined/.test(event) ? "bad"
    : /^(drain|gateway)_/.test(event) ? "wait" : null;
  // A digest is recognised by its start.
  const valueOf = (value) => typeof value !== "string" ? JSON.stringify(value) : /^[0-9a-f]{64}$/.test(value) ? value.slice(0, 12) + "…" : value;
  const fieldOf = ([key, value]) => {
    const field = document.createElement("span");
    const label = document.createElement("i");
    label.textContent = key;
    field.append(label, " " + valueOf(value).slice(0, MAX_SHOWN));
    if (typeof value === "string") field.title = value;
    return field;
  };
  const showAudit = () => {
    if (!at("audit")) return;
    const wanted = at("audit-filter").value.trim().toLowerCase();
    const found = records.filter((record) => JSON.stringify(record).toLowerCase().includes(wanted)).slice(0, 200);
    rows("audit", "audit-row", found, (row, { ts, event, ...fields }) => {
      putTime(slot(row, "ts"), ts);
      const tone = toneOf(event);
      put(slot(row, "event"), event);
      if (tone) slot(row, "event").dataset.tone = tone; else delete slot(row, "event").dataset.tone;
      slot(row, "fields").replaceChildren(...Object.entries(fields).filter(([, value]) => value != null).map(fieldOf));
    });
    put(at("audit-none"), wanted ? "No line contains this." : "No lines yet.");
    hide(at("audit-none"), found.length > 0);
    hide(at("audit-lines"), found.length === 0);
  };
  at("audit-filter")?.addEventListener("input", showAudit);
  // Lines can come in bursts: they are shown with the next frame, and in a hidden tab when it is seen again.
  let frame;
  const showAuditSoon = () => { frame ??= requestAnimationFrame(() => { frame = undefined; showAudit(); }); };

  // Reloads at most once in ten seconds, so that a page that stays wrong does not loop.
  const reload = () => {
    const last = Number(sessionStorage.getItem("portcullis-reload"));
    if (Date.now() - last < 10_000) return false;
    sessionStorage.setItem("portcullis-reload", String(Date.now()));
    location.reload();
    return true;
  };
  const handlers = {
    // Another version has another page.
    status(message) { if (message.version === version || !reload()) showStatus(message); },
    providers(message) { if (message.providers) showProviders(message.providers); },
    audit(message) { records = [...message.records.toReversed(), ...records].slice(0, 1000); showAuditSoon(); },
    audit_missed({ missed }) {
      put(at("audit-missed"), missed === 1 ? "1 line is not shown here. It is in the log." : `${missed} lines are not shown here. They are in the log.`);
      hide(at("audit-missed"), false);
    },
  };

  // The connection. What breaks it is shown when it lasts longer than a moment.
  const present = () => new Date(Date.now() + skew).toISOString();
  let wait = 500, heard = present(), hasBeenLive = false, stale;
  const goLive = () => {
    wait = 500;
    records = [];
    clearTimeout(stale);
    stale = undefined;
    putState(at("connection").parentElement, "live");
    hide(at("stale"), true);
    if (hasBeenLive) refreshSessions();
    hasBeenLive = true;
  };
  const later = (why) => {
    putState(at("connection").parentElement, hasBeenLive ? "not live" : "connecting");
    put(at("stale-because"), why);
    putTime(at("stale-since"), heard);
    stale ??= setTimeout(() => { putState(at("connection").parentElement, "not live"); hide(at("stale"), false); }, 2_000);
    setTimeout(connect, wait);
    wait = Math.min(wait * 2, 10_000);
  };
  async function connect() {
    let answer, ticket;
    try {
      answer = await call("POST", "/api/auth/ws-ticket", {});
      if (answer.ok) ({ ticket } = await answer.json());
    } catch {
      return later("The dashboard does not answer.");
    }
    if (answer.status === 401 && signedIn) {
      const here = location.pathname.slice(prefix.length) + location.search;
      return location.assign(prefix + "/login?next=" + encodeURIComponent(here));
    }
    // Another process has another token, which is in its page.
    if (answer.status === 401 && reload()) return;
    if (!answer.ok) return later(`The dashboard sends no updates (${answer.status}).`);
    const url = new URL(prefix + mount + "/api/ws?ticket=" + ticket, location.href);
    url.protocol = url.protocol.replace("http", "ws");
    const socket = new WebSocket(url);
    // The dashboard sends a message every 20 seconds: after a longer silence the connection is dead.
    let silence;
    const lose = () => {
      clearTimeout(silence);
      socket.onopen = socket.onmessage = socket.onclose = null;
      socket.close();
      later("The connection to the dashboard was lost.");
    };
    const wait = () => { clearTimeout(silence); silence = setTimeout(lose, 60_000); };
    wait();
    socket.onopen = () => { goLive(); wait(); };
    socket.onmessage = ({ data }) => {
      heard = present();
      wait();
      const message = JSON.parse(data);
      handlers[message.type]?.(message);
    };
    socket.onclose = () => { heard = present(); lose(); };
  }

  // Dialogs: a button opens one, and its own button acts.
  for (const button of document.querySelectorAll("[data-opens]")) {
    button.addEventListener("click", () => {
      const dialog = at(button.dataset.opens);
      put(dialog.querySelector(".failed"), "");
      dialog.showModal();
    });
  }
  for (const button of document.querySelectorAll("[data-closes]")) {
    button.addEventListener("click", () => button.closest("dialog").close());
  }
  // Links that this process's token opens, which a browser does not send by itself.
  for (const link of document.querySelectorAll("[data-fetches]")) {
    link.addEventListener("click", async (event) => {
      event.preventDefault();
      try {
        const answer = await call("GET", mount + link.dataset.fetches);
        if (answer.ok) location.assign(URL.createObjectURL(await answer.blob()));
        else if (answer.status === 401) reload();
      } catch {
        // The page itself says when the dashboard does not answer.
      }
    });
  }

  /** Does what a form of a dialog is for. The dialog stays open with the reason when it fails. */
  const act = async (form, ask) => {
    const buttons = [...form.querySelectorAll("button")];
    const failed = form.querySelector(".failed");
    put(failed, "");
    buttons.forEach((button) => { button.disabled = true; });
    try {
      const answer = await ask();
      const body = await answer.json();
      if (answer.ok) {
        form.reset();
        form.closest("dialog").close();
      } else {
        put(failed, body.detail ?? `It failed (${answer.status}).`);
      }
    } catch {
      put(failed, "The dashboard does not answer.");
    }
    buttons.forEach((button) => { button.disabled = false; });
  };
  const typed = ([key, value]) => [key, key.endsWith("_seconds") ? Number(value) : key === "force" ? true : value.trim()];
  for (const form of document.querySelectorAll("form[data-api]")) {
    form.addEventListener("submit", (event) => {
      event.preventDefault();
      const fields = [...new FormData(form, event.submitter)].filter(([, value]) => value.trim() !== "");
      act(form, () => call("POST", mount + form.dataset.api, Object.fromEntries(fields.map(typed))));
    });
  }
  at("sessions")?.addEventListener("click", ({ target }) => {
    const row = target.closest("[data-ends]")?.closest("tr");
    if (!row) return;
    const dialog = at("session-dialog");
    dialog.dataset.id = row.dataset.id;
    put(at("session-whose"), slot(row, "user").textContent + " at " + slot(row, "provider").textContent);
    hide(at("session-own"), !slot(row, "client").textContent.startsWith("this browser"));
    put(dialog.querySelector(".failed"), "");
    hide(dialog, false);
    dialog.showModal();
  });
  at("session-form")?.addEventListener("submit", async (event) => {
    event.preventDefault();
    const form = event.currentTarget;
    await act(form, () => call("DELETE", `${mount}/api/sessions/${form.closest("dialog").dataset.id}`));
    refreshSessions();
  });
  connect();
})();
