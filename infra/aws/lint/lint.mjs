// Checks the properties of templates against what AWS publishes: names, types,
// words that an enumeration has, what is required, and the attributes that
// GetAtt asks for. It stands in for cfn-lint where Python is missing, and finds
// less: conditions, formats of values and what depends on other values it leaves
// alone. "make lint-infra" installs what it needs and calls it:
//
//   node infra/aws/lint/lint.mjs PREFIX template.yaml infra/aws/*.yaml
//
// PREFIX is where npm has installed @aws-cdk/aws-service-spec and yaml.
import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { join, resolve } from 'node:path';

const [prefix, ...files] = process.argv.slice(2);
const need = createRequire(join(resolve(prefix), 'from-here.js'));
const { loadAwsServiceSpecSync } = need('@aws-cdk/aws-service-spec');
const yaml = need('yaml');
const spec = loadAwsServiceSpecSync();

// What SAM has and its part of the specification lacks or names otherwise, from
// the SAM developer guide.
const corrections = {
  'AWS::Serverless::HttpApi': { AccessLogSettings: { type: { type: 'json' } } },
  'AWS::Serverless::Function': { Events: { type: { type: 'map', element: { type: 'event' } } } },
};
const events = {
  HttpApi: 'ApiId Auth Method Path PayloadFormatVersion RouteSettings TimeoutInMillis',
  Schedule: 'DeadLetterConfig Description Enabled Input Name RetryPolicy Schedule State',
  EventBridgeRule: 'DeadLetterConfig EventBusName Input InputPath InputTransformer Pattern RetryPolicy RuleName State Target',
};
const withoutSpec = (type) => type.startsWith('Custom::');
const generated = (type) => /^(AWS::Serverless::|Custom::|AWS::CloudFormation::(Stack|CustomResource))/.test(type);

let problems = 0;
const report = (where, what) => { problems++; console.log(`${where}: ${what}`); };

// The short forms of functions: !Ref x is {Ref: x}.
const names = ['Ref', 'Condition', ...['GetAtt', 'Sub', 'If', 'Join', 'Select', 'Split', 'GetAZs', 'Cidr', 'FindInMap', 'Equals', 'Not', 'And', 'Or', 'ImportValue', 'Base64']];
const long = (name, value) => {
  if (name === 'GetAtt' && typeof value === 'string') value = [value.split('.')[0], value.split('.').slice(1).join('.')];
  return { [name === 'Ref' || name === 'Condition' ? name : `Fn::${name}`]: value };
};
const customTags = names.flatMap((name) => [
  { tag: `!${name}`, resolve: (text) => long(name, text) },
  { tag: `!${name}`, collection: 'seq', resolve: (node) => long(name, node.toJSON()) },
  { tag: `!${name}`, collection: 'map', resolve: (node) => long(name, node.toJSON()) },
]);

const isMap = (value) => typeof value === 'object' && value !== null && !Array.isArray(value);
const isFunction = (value) => isMap(value) && Object.keys(value).length === 1 && /^(Ref|Fn::.*)$/.test(Object.keys(value)[0]);
const isLeftOut = (value) => isMap(value) && value.Ref === 'AWS::NoValue';

// Functions are taken for what they should be, but for the branches of an If.
function check(where, value, type) {
  if (isFunction(value)) {
    if ('Fn::If' in value) value['Fn::If'].slice(1).forEach((branch) => isLeftOut(branch) || check(where, branch, type));
    return;
  }
  const wrong = () => report(where, `${JSON.stringify(value)} is no ${type.type}`);
  const isScalar = ['string', 'number', 'boolean'].includes(typeof value);
  switch (type.type) {
    case 'string':
    case 'date-time':
      if (!isScalar) return wrong();
      if (type.allowedValues && !type.allowedValues.includes(String(value))) report(where, `${value} is none of ${type.allowedValues.join(' ')}`);
      return;
    case 'boolean':
      return ['true', 'false'].includes(String(value)) ? undefined : wrong();
    case 'integer':
      return Number.isInteger(Number(value)) && isScalar ? undefined : wrong();
    case 'number':
      return isScalar && !Number.isNaN(Number(value)) ? undefined : wrong();
    case 'array':
      if (!Array.isArray(value)) return wrong();
      return value.forEach((item, i) => isLeftOut(item) || check(`${where}[${i}]`, item, type.element));
    case 'map':
      if (!isMap(value)) return wrong();
      return Object.entries(value).forEach(([key, item]) => check(`${where}.${key}`, item, type.element));
    case 'json':
      return isMap(value) || Array.isArray(value) || isScalar ? undefined : wrong();
    case 'tag':
      return isMap(value) && 'Key' in value && 'Value' in value ? undefined : wrong();
    case 'ref':
      return isMap(value) ? checkProperties(where, value, spec.get('typeDefinition', type.reference.$ref).properties) : wrong();
    case 'event': {
      const known = events[value.Type]?.split(' ');
      if (!known) return report(where, `${value.Type} is none of ${Object.keys(events).join(' ')}`);
      return Object.keys(value.Properties ?? {}).forEach((key) => known.includes(key) || report(where, `has no property ${key}`));
    }
    case 'union': {
      const before = problems, log = console.log, said = [];
      const fits = type.types.some((one) => {
        problems = 0; console.log = (line) => said.push(line);
        check(where, value, one);
        return problems === 0;
      });
      problems = before; console.log = log;
      if (!fits) report(where, `fits none of ${type.types.length} types; ${said[0]}`);
    }
  }
}

function checkProperties(where, value, known) {
  for (const [key, item] of Object.entries(value)) {
    if (!known[key]) report(where, `has no property ${key}`);
    else if (!isLeftOut(item)) check(`${where}.${key}`, item, known[key].type);
  }
  for (const [key, property] of Object.entries(known)) {
    if (property.required && !(key in value)) report(where, `lacks ${key}`);
  }
}

function checkAttributes(file, value, resources) {
  if (Array.isArray(value)) return value.forEach((item) => checkAttributes(file, item, resources));
  if (!isMap(value)) return;
  const pair = value['Fn::GetAtt'];
  if (Array.isArray(pair)) {
    const type = resources[pair[0]]?.Type;
    const found = type && spec.lookup('resource', 'cloudFormationType', 'equals', type)[0];
    if (!type) report(file, `GetAtt of ${pair[0]}, which is not there`);
    // Some types list an attribute only where the property is that is read back.
    else if (found && !generated(type) && !found.attributes[pair[1]] && !found.properties[pair[1].split('.')[0]]) report(file, `${type} has no attribute ${pair[1]}`);
  }
  Object.values(value).forEach((item) => checkAttributes(file, item, resources));
}

for (const file of files) {
  const template = yaml.parse(readFileSync(file, 'utf8'), { customTags });
  for (const [id, resource] of Object.entries(template.Resources)) {
    const where = `${file} ${id}`;
    const type = resource.Type ?? '';
    const found = spec.lookup('resource', 'cloudFormationType', 'equals', type)[0];
    if (!found) {
      if (!withoutSpec(type)) report(where, `there is no type ${type}`);
      continue;
    }
    const globals = type === 'AWS::Serverless::Function' ? template.Globals?.Function ?? {} : {};
    checkProperties(where, { ...globals, ...resource.Properties }, { ...found.properties, ...corrections[type] });
  }
  checkAttributes(file, template, template.Resources);
}
console.log(problems === 0 ? `${files.length} templates fit the specification` : `${problems} problems`);
process.exitCode = problems === 0 ? 0 : 1;
