// Helpers for driving Debian's chromium with playwright-core as root.
import { chromium, devices } from 'playwright-core';
import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
const require = createRequire(import.meta.url);
export const AXE = readFileSync(require.resolve('axe-core/axe.min.js'), 'utf8');
export { devices };

export const launch = () => chromium.launch({
  executablePath: '/usr/bin/chromium', headless: true,
  chromiumSandbox: false,                                   // = --no-sandbox, needed as root (it is also the default)
  args: ['--disable-gpu', '--disable-dev-shm-usage', '--no-first-run', '--disable-background-networking', '--disable-component-update'],
});

// A context whose pages report everything that goes wrong into ctx.trouble = [{kind, ...}]
export async function watched(browser, opts = {}) {
  const ctx = await browser.newContext({ viewport: { width: 1280, height: 800 }, locale: 'en-GB', ...opts });
  const trouble = ctx.trouble = [];
  await ctx.exposeBinding('__csp', (_src, v) => trouble.push({ kind: 'csp', ...v }));
  await ctx.addInitScript(() => document.addEventListener('securitypolicyviolation', (e) => window.__csp({
    directive: e.effectiveDirective, blocked: e.blockedURI, sample: e.sample, source: e.sourceFile, line: e.lineNumber, url: e.documentURI, disposition: e.disposition })));
  ctx.on('page', (page) => {
    page.on('console', (m) => { if (['error', 'warning'].includes(m.type())) trouble.push({ kind: 'console', type: m.type(), text: m.text(), url: m.location().url }); });
    page.on('pageerror', (e) => trouble.push({ kind: 'pageerror', text: String(e) }));
    page.on('requestfailed', (r) => trouble.push({ kind: 'requestfailed', url: r.url(), text: r.failure()?.errorText }));
    page.on('response', (r) => { if (r.status() >= 400) trouble.push({ kind: 'http', status: r.status(), url: r.url() }); });
  });
  return ctx;
}
export const csp = (ctx) => ctx.trouble.filter((t) => t.kind === 'csp' || (t.kind === 'console' && /content security policy/i.test(t.text)));

// axe without touching the page's CSP: evaluate goes through the debugger, which no CSP binds
export async function axe(page, options = { runOnly: ['wcag2a', 'wcag2aa', 'wcag21a', 'wcag21aa', 'wcag22aa', 'best-practice'] }) {
  await page.evaluate(AXE + ';0');
  const r = await page.evaluate((o) => axe.run(document, o), options);
  return { version: r.testEngine.version, passes: r.passes.length, incomplete: r.incomplete.map((v) => v.id),
    violations: r.violations.map((v) => ({ id: v.id, impact: v.impact, help: v.help, nodes: v.nodes.map((n) => n.target.join(' ') + ' :: ' + n.failureSummary.split('\n')[1]) })) };
}
// Sign in at idp.mjs' form; the page must be on the way there
export async function loginAtIdp(page, login = 'ada', password = 'lovelace') {
  await page.locator('input[name=login]').fill(login);
  await page.locator('input[name=password]').fill(password);
  await page.locator('button[type=submit]').click();
}
