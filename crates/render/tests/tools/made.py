# What was made of `jamdung`, as AWS tells it; after `client` has been defined.
def pages(service, verb, key, **words):
    return [one for page in client(service).get_paginator(verb).paginate(**words) for one in page[key]]

def ways_out(subnets):
    """Whether a subnet has a way to the world, and which."""
    tables = client("ec2").describe_route_tables(Filters=[{"Name": "association.subnet-id", "Values": subnets}])
    return sorted({route.get("GatewayId", "") + route.get("NatGatewayId", "")
                   for table in tables["RouteTables"] for route in table["Routes"]
                   if route.get("DestinationCidrBlock") == "0.0.0.0/0"})

def bucket(name):
    s3 = client("s3")
    rules = s3.get_bucket_encryption(Bucket=name)["ServerSideEncryptionConfiguration"]["Rules"]
    closed = s3.get_public_access_block(Bucket=name)["PublicAccessBlockConfiguration"]
    return {"encrypted": rules[0]["ApplyServerSideEncryptionByDefault"]["SSEAlgorithm"],
            "versions": s3.get_bucket_versioning(Bucket=name).get("Status"),
            "closed": all(closed.values())}

def statements(role):
    iam = client("iam")
    found = []
    for name in iam.list_role_policies(RoleName=role)["PolicyNames"]:
        document = iam.get_role_policy(RoleName=role, PolicyName=name)["PolicyDocument"]
        for one in document["Statement"]:
            listed = lambda what: what if isinstance(what, list) else [what]
            found.append({"effect": one["Effect"], "actions": listed(one["Action"]), "resources": listed(one["Resource"])})
    return found

rds = client("rds")
clusters = []
for cluster in rds.describe_db_clusters()["DBClusters"]:
    group = rds.describe_db_subnet_groups(DBSubnetGroupName=cluster["DBSubnetGroup"])["DBSubnetGroups"][0]
    subnets = [subnet["SubnetIdentifier"] for subnet in group["Subnets"]]
    members = [one for one in rds.describe_db_instances()["DBInstances"]
               if one.get("DBClusterIdentifier") == cluster["DBClusterIdentifier"]]
    clusters.append({"name": cluster["DBClusterIdentifier"], "encrypted": cluster["StorageEncrypted"],
                     "days": cluster["BackupRetentionPeriod"], "zones": len(subnets), "ways_out": ways_out(subnets),
                     "public": [one["PubliclyAccessible"] for one in members]})

functions = []
for one in pages("lambda", "list_functions", "Functions"):
    network = one.get("VpcConfig", {})
    functions.append({"name": one["FunctionName"], "role": one["Role"].split("/")[-1],
                      "variables": one.get("Environment", {}).get("Variables", {}),
                      "ways_out": ways_out(network.get("SubnetIds", [])) if network.get("SubnetIds") else [],
                      "groups": len(network.get("SecurityGroupIds", []))})

secrets = {}
for one in pages("secretsmanager", "list_secrets", "SecretList"):
    versions = client("secretsmanager").list_secret_version_ids(SecretId=one["ARN"])["Versions"]
    secrets[one["Name"]] = {"versions": len(versions), "tags": {tag["Key"]: tag["Value"] for tag in one.get("Tags", [])}}

print(json.dumps({
    "buckets": {one["Name"]: bucket(one["Name"]) for one in client("s3").list_buckets()["Buckets"]},
    "clusters": clusters,
    "functions": functions,
    "roles": {one["RoleName"]: statements(one["RoleName"]) for one in pages("iam", "list_roles", "Roles")},
    "logs": {one["logGroupName"]: one.get("retentionInDays") for one in pages("logs", "describe_log_groups", "logGroups")},
    "secrets": secrets,
    "groups": [{"name": one["GroupName"], "open": [rule.get("FromPort") for rule in one["IpPermissions"] if rule["IpRanges"]]}
               for one in pages("ec2", "describe_security_groups", "SecurityGroups") if one["GroupName"] != "default"],
}))
