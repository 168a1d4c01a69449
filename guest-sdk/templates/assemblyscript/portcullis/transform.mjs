// A transform of the AssemblyScript compiler: `@wit("...")` before a function of exports.ts is the name under which it
// is exported (an identifier cannot hold it), and those whose namesake provider.ts does not export are left out.
const EXPORT = 2; // CommonFlags.Export

export default class {
  afterParse(parser) {
    const source = name => parser.sources.find(source => source.normalizedPath == name);
    const offered = new Set(source("provider.ts").statements.filter(s => s.flags & EXPORT).map(s => s.name?.text));
    const exports = source("portcullis/exports.ts");
    this.names = new Map();
    exports.statements = exports.statements.filter(s => {
      if (!(s.flags & EXPORT)) return true;
      const ours = s.name.text, wit = s.decorators[0].args[0].value;
      if (wit.includes("#") && !offered.has(ours)) return false;
      this.names.set(ours, wit);
      return true;
    });
  }

  afterCompile(module) {
    for (const [ours, wit] of this.names) {
      module.removeExport(ours);
      module.addFunctionExport(`portcullis/exports/${ours}`, wit);
    }
  }
}
