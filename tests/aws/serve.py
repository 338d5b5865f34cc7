"""moto_server, repaired where it differs from AWS in ways that the provisioner meets, and gone with its parent.

Arguments are those of moto_server. Every repair says what moto does without it (5.2.5). What needs the caller's
permissions, the EKS calls that moto lacks and the errors of unknown operations are the endpoint's (`tests::aws::Endpoint`).
"""

import json
import os
import threading
import time

from moto.core.responses import ActionResult
from moto.ec2.exceptions import DependencyViolationError
from moto.ec2.models.security_groups import SecurityGroupBackend
from moto.iam.models import iam_backends
from moto.rds import utils as rds_utils
from moto.rds.exceptions import DBSubnetGroupNotFoundError, RDSClientError
from moto.rds.models import DBInstance, RDSBackend, rds_backends
from moto.rds.responses import RDSResponse
from moto.secretsmanager.exceptions import InvalidRequestException
from moto.secretsmanager.models import SecretsManagerBackend
from moto.server import main
from moto.sts.exceptions import STSClientError
from moto.sts.models import STSBackend
from moto.utilities.utils import get_partition


def before(cls, name, hook):
    """Calls `hook` with the arguments of a method before the method."""
    method = getattr(cls, name)

    def repaired(self, *args, **kwargs):
        hook(self, *args, **kwargs)
        return method(self, *args, **kwargs)

    setattr(cls, name, repaired)


def after(cls, name, hook):
    """Calls `hook` with the result and the arguments of a method, and gives what it gives."""
    method = getattr(cls, name)

    def repaired(self, *args, **kwargs):
        return hook(self, method(self, *args, **kwargs), *args, **kwargs)

    setattr(cls, name, repaired)


# === Secrets Manager ===


def moved_stage(self, result, secret_id, version_stage, remove_from_version_id, move_to_version_id):
    """Without this, GetSecretValue gives the old value after AWSCURRENT has moved, and the next PutSecretValue leaves
    AWSCURRENT on two versions."""
    if version_stage == "AWSCURRENT" and move_to_version_id:
        self.secrets[secret_id].set_default_version_id(move_to_version_id)
    return result


def one_version_each(self, result, secret_id, *args, **kwargs):
    """Without this, a staging label that a new version takes stays on the old one too."""
    taken = set(kwargs.get("version_stages") or []) - {"AWSCURRENT", "AWSPREVIOUS"}
    secret = self.secrets[secret_id]
    newest = json.loads(result)["VersionId"] if isinstance(result, str) else result["VersionId"]
    for version_id, version in secret.versions.items():
        if version_id != newest:
            version["version_stages"] = [stage for stage in version["version_stages"] if stage not in taken]
    return result


def not_deleted(self, secret_id, *args, **kwargs):
    """Without this, a deleted secret takes new values and stages."""
    if secret_id in self.secrets and self.secrets[secret_id].is_deleted():
        raise InvalidRequestException(
            "You can't perform this operation on the secret because it was marked for deletion."
        )


after(SecretsManagerBackend, "update_secret_version_stage", moved_stage)
after(SecretsManagerBackend, "put_secret_value", one_version_each)
before(SecretsManagerBackend, "put_secret_value", not_deleted)
before(SecretsManagerBackend, "update_secret_version_stage", not_deleted)


# === RDS: windows ===


def overlap(start1, end1, start2, end2):
    """Without this, a backup window that ends when the maintenance window begins is refused as overlapping it."""
    seconds = (min(end1, end2) - max(start1, start2)).total_seconds()
    return seconds if seconds > 0 else -1


rds_utils.get_overlap_between_two_date_ranges = overlap


# === STS ===


def role_exists(self, region_name, role_session_name, role_arn, *args, **kwargs):
    """Without this, any role can be assumed. What its trust policy says is not looked at."""
    account, name = role_arn.split(":")[4], role_arn.split("/")[-1]
    roles = iam_backends[account][get_partition(region_name)].roles.values()
    if not any(role.name == name for role in roles):
        raise STSClientError(
            "AccessDenied", f"User is not authorized to perform: sts:AssumeRole on resource: {role_arn}"
        )


def user_of_iam(self, result, *args, **kwargs):
    """Without this, the ARN of a user's keys is one of STS, which no other call takes."""
    user_id, arn, account = result
    return user_id, arn.replace(":sts::", ":iam::") if arn.endswith(":user/moto") else arn, account


before(STSBackend, "assume_role", lambda self, **kwargs: role_exists(self, **kwargs))
after(STSBackend, "get_caller_identity", user_of_iam)


# === EC2 ===


def unused(self, group_id):
    """Without this, a security group can be deleted while a database or another group's rule uses it."""
    databases = rds_backends[self.account_id][self.region_name].databases.values()
    users = [database.db_instance_identifier for database in databases if group_id in database.vpc_security_group_ids]
    for groups in self.groups.values():
        for group in groups.values():
            rules = group.ingress_rules + group.egress_rules
            sources = [rule.source_group.get("GroupId") for rule in rules]
            if group.id != group_id and group_id in sources:
                users.append(group.id)
    if users:
        raise DependencyViolationError(f"resource {group_id} has a dependent object")


before(SecurityGroupBackend, "delete_security_group", lambda self, name=None, group_id=None: unused(self, group_id))


# === RDS ===

FORGOTTEN = {
    "enable_performance_insights": "performance_insights_enabled",
    "performance_insights_retention_period": "performance_insights_retention_period",
    "performance_insights_kms_key_id": "performance_insights_kms_key_id",
    "database_insights_mode": "database_insights_mode",
    "network_type": "network_type",
}


def remember(database, settings):
    """Without this, DescribeDBInstances does not give these settings back."""
    for given, field in FORGOTTEN.items():
        if settings.get(given) is not None:
            setattr(database, field, settings[given])


def created(self, result, *args, **kwargs):
    self.performance_insights_enabled = False
    self.network_type = "IPV4"
    remember(self, kwargs)
    return result


def updated(self, result, **kwargs):
    remember(self, kwargs)
    # AWS gives each kind of log once, however often it was enabled.
    self.enabled_cloudwatch_logs_exports = list(dict.fromkeys(self.enabled_cloudwatch_logs_exports))
    return result


modify_db_instance = RDSBackend.modify_db_instance


def modified(self, db_instance_identifier, db_kwargs):
    """Without this, an instance cannot be moved back to the default parameter group, which is there always on AWS."""
    group = db_kwargs.get("db_parameter_group_name") or ""
    if not group.startswith("default."):
        return modify_db_instance(self, db_instance_identifier, db_kwargs)
    del db_kwargs["db_parameter_group_name"]
    database = modify_db_instance(self, db_instance_identifier, db_kwargs)
    database.db_parameter_group_name = group
    return database


def new_subnet_group(self, subnet_name, description, subnets, tags):
    """Without this, a second group of the same name replaces the first, and one zone is enough."""
    if subnet_name in self.subnet_groups:
        raise RDSClientError("DBSubnetGroupAlreadyExists", f"The DB subnet group '{subnet_name}' already exists.")
    if len({subnet.availability_zone for subnet in subnets}) < 2:
        raise RDSClientError(
            "DBSubnetGroupDoesNotCoverEnoughAZs",
            "The DB subnet group doesn't meet Availability Zone (AZ) coverage requirement.",
        )


def modify_subnet_group(self, subnet_name, description, subnets):
    """moto's own forgets the group."""
    if subnet_name not in self.subnet_groups:
        raise DBSubnetGroupNotFoundError(subnet_name)
    group = self.subnet_groups[subnet_name]
    group.subnets = subnets
    if description is not None:
        group.description = description
    return group


def idle_subnet_group(self, subnet_name):
    """Without this, a group can be deleted while a database is in it."""
    for database in self.databases.values():
        if database.db_subnet_group and database.db_subnet_group.name == subnet_name.lower():
            raise RDSClientError(
                "InvalidDBSubnetGroupStateFault",
                f"Cannot delete the subnet group '{subnet_name}' because at least one database instance is still using it.",
            )


# In the order of AWS: oldest first.
VERSIONS = ["15.8", "15.12", "16.4", "16.6", "16.8", "16.9", "17.4", "17.5"]


def describe_db_engine_versions(self):
    """moto has none. These are versions of PostgreSQL that RDS has had; a prefix such as `16` gives its minors."""
    wanted = self.params.get("EngineVersion")
    found = []
    for version in VERSIONS if self.params.get("Engine", "postgres") == "postgres" else []:
        major = version.split(".")[0]
        if wanted and version != wanted and major != wanted:
            continue
        found.append(
            {
                "Engine": "postgres",
                "MajorEngineVersion": major,
                "EngineVersion": version,
                "DBParameterGroupFamily": f"postgres{major}",
                "DBEngineDescription": "PostgreSQL",
                "DBEngineVersionDescription": f"PostgreSQL {version}",
                "ValidUpgradeTarget": [
                    {"Engine": "postgres", "EngineVersion": target, "AutoUpgrade": False, "IsMajorVersionUpgrade": False}
                    for target in VERSIONS[VERSIONS.index(version) + 1 :]
                    if target.split(".")[0] == major
                ],
                "Status": "available",
            }
        )
    if self.params.get("DefaultOnly"):
        found = found[-1:]
    return ActionResult({"DBEngineVersions": found})


after(DBInstance, "__init__", created)
after(DBInstance, "update", updated)
RDSBackend.modify_db_instance = modified
before(RDSBackend, "create_subnet_group", new_subnet_group)
RDSBackend.modify_db_subnet_group = modify_subnet_group
before(RDSBackend, "delete_subnet_group", idle_subnet_group)
RDSResponse.describe_db_engine_versions = describe_db_engine_versions


# === The process ===


def end_with(parent):
    """A test that is killed cannot stop what it started."""
    while os.getppid() == parent:
        time.sleep(1)
    os._exit(0)


if __name__ == "__main__":
    threading.Thread(target=end_with, args=(os.getppid(),), daemon=True).start()
    main()
