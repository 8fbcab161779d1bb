// Fetches what the admin API tells and writes it as text. Labels and messages are other people's words: nothing here
// turns them into markup.
"use strict";

const POLL_MS = 2000;
const EVENTS_SHOWN = 100;
const SVG = "http://www.w3.org/2000/svg";

const at = (id) => document.getElementById(id);

function element(name, { text, kind, ...attributes } = {}, ...children) {
  const node = document.createElement(name);
  if (text !== undefined) node.textContent = text;
  if (kind) node.className = kind;
  for (const [key, value] of Object.entries(attributes)) node.setAttribute(key, value);
  node.append(...children.filter((child) => child !== null && child !== undefined));
  return node;
}

function shape(name, attributes) {
  const node = document.createElementNS(SVG, name);
  for (const [key, value] of Object.entries(attributes)) node.setAttribute(key, value);
  return node;
}

const percent = (number) => `${Math.round(number * 10) / 10}%`;
const count = (number, one) => `${number.toLocaleString("en")} ${one}${number === 1 ? "" : "s"}`;
const tone = (state) =>
  ({ ready: "good", ok: "good", up: "good", probing: "warn", connecting: "warn", holding: "warn", draining: "warn",
     partial: "bad", rejected: "bad", failing: "bad", down: "bad", error: "bad", warning: "warn" })[state] || "warn";

async function ask(path) {
  const response = await fetch(path, { headers: { accept: "application/json" } });
  if (!response.ok) throw new Error(`${path}: ${response.status}`);
  return response.json();
}

// A list that the other half of Weir serves; without it the page shows the rest.
const perhaps = (path, key) => ask(path).then((reply) => reply[key] || [], () => []);

function bar(version) {
  const svg = shape("svg", { class: "bar", role: "img", "aria-label": `${percent(version.effective)} in force` });
  svg.append(shape("rect", { class: "track", y: 3, width: "100%", height: 6, rx: 3 }));
  if (version.effective > 0) {
    svg.append(shape("rect", { class: "fill", y: 3, width: `${version.effective}%`, height: 6, rx: 3 }));
  }
  if (typeof version.configured === "number") {
    svg.append(shape("rect", { class: "told", x: `${version.configured}%`, y: 0, width: 2, height: 12 }));
  }
  if (typeof version.observed === "number") {
    svg.append(shape("circle", { class: "seen", cx: `${version.observed}%`, cy: 6, r: 3.5 }));
  }
  return svg;
}

function versionRow(version) {
  const detail = [];
  if (typeof version.configured === "number") detail.push(`configured ${percent(version.configured)}`);
  if (version.split) detail.push(typeof version.observed === "number" ? `observed ${percent(version.observed)}` : "none observed");
  detail.push(count(version.endpoints, "endpoint"));
  return element("div", { kind: "version" },
    element("span", { kind: "name", text: version.version }),
    bar(version),
    element("span", { kind: "share", text: percent(version.effective) }),
    element("span", { kind: "detail", text: detail.join(", ") }));
}

function endpointTable(endpoints) {
  if (endpoints.length === 0) return element("p", { kind: "empty", text: "No endpoint: requests are answered with 503." });
  const head = element("tr", {},
    element("th", { text: "Endpoint", scope: "col" }), element("th", { text: "Version", scope: "col" }),
    element("th", { text: "State", scope: "col" }), element("th", { text: "In flight", kind: "number wide", scope: "col" }),
    element("th", { text: "Requests", kind: "number", scope: "col" }), element("th", { text: "Errors", kind: "number", scope: "col" }));
  const rows = endpoints.map((endpoint) => {
    const state = element("td", { kind: tone(endpoint.state), title: endpoint.reason || "" },
      element("span", { kind: "state" }, element("span", { kind: "dot", "aria-hidden": "true" }), endpoint.state));
    if (endpoint.state !== "ready" && endpoint.reason) {
      state.append(element("span", { kind: "soft", text: ` ${endpoint.reason}` }));
    }
    return element("tr", {},
      element("td", { kind: "address", text: endpoint.address, title: `${endpoint.id} from ${endpoint.source}` }),
      element("td", { text: endpoint.version }), state,
      element("td", { kind: "number wide", text: endpoint.inFlight.toLocaleString("en") }),
      element("td", { kind: "number", text: endpoint.requests.toLocaleString("en") }),
      element("td", { kind: endpoint.errors > 0 ? "number bad" : "number", text: endpoint.errors.toLocaleString("en") }));
  });
  return element("table", {}, element("thead", {}, head), element("tbody", {}, ...rows));
}

function serviceCard(name, service, rollout, endpoints) {
  const header = element("header", {}, element("h3", { text: name }));
  if (rollout && rollout.override) {
    const told = `set by hand by ${rollout.override.by}, ${clock(rollout.override.since)}`;
    header.append(element("span", { kind: "tag", text: told, title: `weir canary clear ${name} gives the weights back` }));
  }
  const facts = [];
  if (service) facts.push(`${service.available} of ${count(service.endpoints, "endpoint")} available`);
  if (service && service.healthCheck) facts.push(service.healthCheck);
  if (rollout && rollout.versions.length > 1) facts.push(`${count(rollout.observedRequests, "request")} since the last change`);
  header.append(element("span", { kind: "meta", text: facts.join(", ") }));
  const versions = rollout && rollout.versions.length > 0
    ? rollout.versions.map((version) => ({ ...version, split: rollout.versions.length > 1 }))
    : ((service && service.versions) || []).map((version) => ({
        version: version.name, effective: version.share, endpoints: version.endpoints }));
  return element("article", {}, header, ...versions.map(versionRow), endpointTable(endpoints));
}

function showServices(services, rollouts, endpoints) {
  const names = new Set([...services, ...endpoints.map((e) => ({ name: e.service }))].map((service) => service.name));
  rollouts.forEach((rollout) => names.add(rollout.service));
  const sorted = [...names].sort();
  const cards = sorted.map((name) => serviceCard(
    name, services.find((s) => s.name === name), rollouts.find((r) => r.service === name),
    endpoints.filter((e) => e.service === name)));
  const nothing = element("p", { kind: "empty",
    text: "No service yet. Label a container with weir.enable=true, or write one in a file." });
  at("services").replaceChildren(...(cards.length > 0 ? cards : [nothing]));
  at("services-count").textContent = cards.length || "";
}

function vital(name, text, kind) {
  return element("li", {}, element("span", { text: name }), element("b", { kind, text }));
}

function showStatus(status) {
  const applied = status.generation === status.appliedGeneration;
  const vitals = [
    vital("ready", status.ready ? "yes" : `no: ${status.readyReason}`, status.ready ? "good" : "bad"),
    vital("generation", applied ? `${status.generation}` : `${status.generation}, ${status.appliedGeneration} in force`, applied ? "" : "warn"),
    vital("config", status.config.state, tone(status.config.state)),
    ...status.providers.map((provider) => vital(provider.name, provider.state, tone(provider.state))),
  ];
  at("vitals").replaceChildren(...vitals);
  const alarms = [];
  const alarm = (headline, text, kind) => alarms.push(element("div", { kind },
    element("strong", { text: headline }), text ? element("pre", { text }) : null));
  if (status.config.state === "rejected") {
    alarm("The last configuration was refused; what ran before goes on unchanged.", status.config.rendered);
  } else if (status.config.rendered) {
    const headline = status.config.errors > 0 ? "Part of the configuration is left out." : "The configuration has warnings.";
    alarm(headline, status.config.rendered, status.config.errors > 0 ? "" : "mild");
  }
  status.providers.filter((provider) => provider.error && provider.name !== "file").forEach((provider) => {
    const headline = `${provider.name} is ${provider.state} since ${clock(provider.since)}; what is known is kept.`;
    alarm(headline, provider.error, provider.state === "down" ? "" : "mild");
  });
  if (status.applyErrors.length > 0) alarm("The proxy could not apply everything.", status.applyErrors.join("\n"));
  at("alarms").replaceChildren(...alarms);
  at("alarms").hidden = alarms.length === 0;
}

function showDiscovery(discovery) {
  const problems = discovery.problems.map((problem) => {
    const where = problem.label ? `${problem.container}, label ${problem.label}` : problem.container;
    return element("li", {}, element("span", { kind: tone(problem.severity), text: problem.message }),
      problem.help ? element("span", { text: `. ${problem.help}` }) : null,
      element("span", { kind: "where", text: where || problem.source }));
  });
  at("problems").replaceChildren(...problems);
  at("problems-count").textContent = problems.length || "none";
  const out = discovery.containers.filter((container) => !container.included).map((container) =>
    element("li", {}, element("span", { text: container.container }), element("span", { kind: "where", text: container.reason })));
  at("out").replaceChildren(...out);
  at("out-count").textContent = out.length || "none";
}

function clock(time) {
  const date = new Date(time);
  return Number.isNaN(date.getTime()) ? time : date.toLocaleTimeString("en-GB");
}

function showEvent(event) {
  const row = element("li", {}, element("span", { text: event.text }),
    element("span", { kind: "where", text: [clock(event.time), event.service].filter(Boolean).join(", ") }));
  at("events").prepend(row);
  while (at("events").childElementCount > EVENTS_SHOWN) at("events").lastElementChild.remove();
}

let asking = false;
let again = false;
let started = null;

async function refresh() {
  if (asking) {
    again = true;
    return;
  }
  asking = true;
  try {
    const [status, discovery, rollouts, services, endpoints] = await Promise.all([
      ask("/api/v1/status"), ask("/api/v1/discovery"), perhaps("/api/v1/rollouts", "rollouts"),
      perhaps("/api/v1/services", "services"), perhaps("/api/v1/endpoints", "endpoints"),
    ]);
    // Another process counts its events from 1 again.
    if (started !== null && started !== status.started) location.reload();
    started = status.started;
    showStatus(status);
    showDiscovery(discovery);
    showServices(services, rollouts, endpoints);
    at("live").textContent = "live";
    at("live").className = "good";
  } catch (failure) {
    at("live").textContent = `no answer (${failure.message})`;
    at("live").className = "bad";
  }
  asking = false;
  if (again) {
    again = false;
    refresh();
  }
}

function listen(since) {
  let last = since;
  const source = new EventSource("/api/v1/stream");
  source.addEventListener("weir", (message) => {
    const event = JSON.parse(message.data);
    if (event.seq <= last) return;
    last = event.seq;
    showEvent(event);
    refresh();
  });
  // The browser reconnects by itself and names the last event it saw.
}

async function start() {
  const events = await perhaps(`/api/v1/events?limit=${EVENTS_SHOWN}`, "events");
  events.forEach(showEvent);
  listen(events.length > 0 ? events[events.length - 1].seq : 0);
  await refresh();
  setInterval(() => document.hidden || refresh(), POLL_MS);
}

start();
