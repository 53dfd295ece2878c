/**
 * What needs no package of npm and mostly waits for the network: done beside those and the checks. What fails here is tried again, and
 * reported, where it is needed.
 */
import { interopEnvironments } from './interop.mjs';
import { chromium, installPythonPackages, testPrograms } from './setup.mjs';

for (const step of [installPythonPackages, chromium, testPrograms, interopEnvironments]) {
  try {
    step();
  } catch (error) {
    console.error(error.message);
  }
}
