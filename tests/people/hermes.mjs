// The released Hermes dashboard, as the suites run it.
import { execFile } from 'node:child_process';
import { writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { endLeftBehind, folder, start } from './harness.mjs';

const INTEROP = join(dirname(fileURLToPath(import.meta.url)), '../interop/harness.py');
/** The exit code of the installation when PyPI cannot be reached. */
const NO_PYPI = 75;

/** The folder of the package's programs. `null`: PyPI cannot be reached, which is said loudly. */
export async function installed() {
  try {
    const { stdout } = await promisify(execFile)('python3', [INTEROP]);
    return join(stdout.trim().split('\n').at(-1), 'bin');
  } catch (error) {
    if (error.code !== NO_PYPI) throw error;
    console.error(error.stderr);
    return null;
  }
}

/** Starts `hermes dashboard` over a home of its own, with a model that is out of reach and no way out but loopback. */
export async function hermesDashboard(programs) {
  const home = folder('hermes');
  const nowhere = 'http://127.0.0.1:9';
  writeFileSync(join(home, 'config.yaml'), JSON.stringify({
    model: { provider: 'custom', default: 'stub', base_url: `${nowhere}/v1`, api_key: 'stub-key-0123456789', context_length: 200_000 },
    security: { tirith_enabled: false },
  }));
  const env = { HOME: home, HERMES_HOME: home, HTTP_PROXY: nowhere, HTTPS_PROXY: nowhere, ALL_PROXY: nowhere, NO_PROXY: '127.0.0.1,localhost' };
  endLeftBehind(`HERMES_HOME=${home}`);
  const process = await start(join(programs, 'hermes'), ['dashboard', '--port', '0', '--no-open', '--skip-build'], { env, ready: /HERMES_DASHBOARD_READY port=(\d+)/ });
  return Object.assign(process, { url: `http://127.0.0.1:${process.port}` });
}
