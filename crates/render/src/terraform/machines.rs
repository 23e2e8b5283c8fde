//! EC2 machines for a fleet, and an EKS cluster.

use serde_json::{Value, json};
use stack::Kind;

use super::{
    cloud::{Cloud, Shape, text},
    role,
};
use crate::hcl::{self, Block};

pub(crate) fn hosts(cloud: &Cloud<'_>) -> Vec<Block> {
    if cloud.shape != Shape::Machines {
        return Vec::new();
    }
    vec![
        hcl::data(
            "aws_ssm_parameter",
            "image",
            json!({ "name": "/aws/service/ami-amazon-linux-latest/al2023-ami-kernel-default-x86_64" }),
        ),
        hcl::resource(
            "aws_instance",
            "host",
            json!({
                "count": "= var.machines",
                "ami": "= data.aws_ssm_parameter.image.insecure_value",
                "instance_type": "= var.machine_type",
                "subnet_id": "= element(aws_subnet.private[*].id, count.index)",
                "vpc_security_group_ids": ["= aws_security_group.machines.id"],
                "iam_instance_profile": "= aws_iam_instance_profile.host.name",
                "monitoring": true,
                "ebs_optimized": true,
                "# no SSH port is open: `slipway host add` comes through Session Manager": null,
                "metadata_options {}": { "http_endpoint": "enabled", "http_tokens": "required", "http_put_response_hop_limit": 1 },
                "root_block_device {}": { "volume_type": "gp3", "volume_size": 40, "encrypted": true },
                "tags": { "Name": "${local.name}-${count.index + 1}" },
                "lifecycle {}": { "# a newer image is a new machine, moved to by hand": null, "ignore_changes": ["= ami"] },
            }),
        ),
        hcl::resource(
            "aws_iam_instance_profile",
            "host",
            json!({ "name": "${local.name}-host", "role": "= aws_iam_role.host.name" }),
        ),
    ]
}

/// Roles of machines: theirs is what every program on them may do.
pub(crate) fn roles(cloud: &Cloud<'_>, statements: &[Value]) -> Vec<Block> {
    let mut blocks = Vec::new();
    if cloud.shape == Shape::Machines {
        blocks.push(hcl::resource(
            "aws_iam_role",
            "host",
            json!({ "name": "${local.name}-host", "assume_role_policy": role::trust("ec2.amazonaws.com") }),
        ));
        for (name, policy) in [("session", "AmazonSSMManagedInstanceCore"), ("watch", "CloudWatchAgentServerPolicy")] {
            blocks.push(hcl::resource(
                "aws_iam_role_policy_attachment",
                name,
                json!({
                    "role": "= aws_iam_role.host.name", "policy_arn": format!("arn:aws:iam::aws:policy/{policy}"),
                }),
            ));
        }
        if !statements.is_empty() {
            blocks.push(hcl::resource(
                "aws_iam_role_policy",
                "host",
                json!({
                    "name": "needs", "role": "= aws_iam_role.host.id", "policy": role::policy(statements),
                }),
            ));
        }
        return blocks;
    }
    blocks.push(hcl::resource(
        "aws_iam_role",
        "cluster",
        json!({ "name": "${local.name}-cluster", "assume_role_policy": role::trust("eks.amazonaws.com") }),
    ));
    blocks.push(hcl::resource(
        "aws_iam_role_policy_attachment",
        "cluster",
        json!({
            "role": "= aws_iam_role.cluster.name", "policy_arn": "arn:aws:iam::aws:policy/AmazonEKSClusterPolicy",
        }),
    ));
    blocks.push(hcl::resource(
        "aws_iam_role",
        "node",
        json!({ "name": "${local.name}-node", "assume_role_policy": role::trust("ec2.amazonaws.com") }),
    ));
    for (name, policy) in [
        ("node", "AmazonEKSWorkerNodePolicy"),
        ("node_images", "AmazonEC2ContainerRegistryPullOnly"),
        ("node_network", "AmazonEKS_CNI_Policy"),
    ] {
        blocks.push(hcl::resource(
            "aws_iam_role_policy_attachment",
            name,
            json!({
                "role": "= aws_iam_role.node.name", "policy_arn": format!("arn:aws:iam::aws:policy/{policy}"),
            }),
        ));
    }
    if !statements.is_empty() {
        blocks.push(hcl::resource("aws_iam_role", "pods", json!({
            "name": "${local.name}-pods",
            "assume_role_policy": role::policy(&[json!({
                "Effect": "Allow", "Action": ["sts:AssumeRole", "sts:TagSession"], "Principal": { "Service": "pods.eks.amazonaws.com" },
            })]),
        })));
        blocks.push(hcl::resource(
            "aws_iam_role_policy",
            "pods",
            json!({
                "name": "needs", "role": "= aws_iam_role.pods.id", "policy": role::policy(statements),
            }),
        ));
    }
    blocks
}

pub(crate) fn cluster(cloud: &Cloud<'_>) -> Vec<Block> {
    if cloud.shape != Shape::Cluster {
        return Vec::new();
    }
    let extra = cloud.extras(Kind::Cluster).next().map(|(_, extra)| extra);
    let said = |key: &str| extra.and_then(|extra| text(extra, key));
    let mut blocks = vec![
        hcl::resource(
            "aws_eks_cluster",
            "main",
            json!({
                "name": said("name").unwrap_or("= local.name"),
                "version": said("version").unwrap_or("1.34"),
                "role_arn": "= aws_iam_role.cluster.arn",
                "enabled_cluster_log_types": ["api", "audit", "authenticator", "controllerManager", "scheduler"],
                "deletion_protection": "= var.protect",
                "access_config {}": { "authentication_mode": "API" },
                "vpc_config {}": {
                    "subnet_ids": "= aws_subnet.private[*].id",
                    "security_group_ids": ["= aws_security_group.nodes.id"],
                    "endpoint_private_access": true,
                    "endpoint_public_access": false,
                },
                "depends_on": ["= aws_iam_role_policy_attachment.cluster"],
            }),
        ),
        hcl::resource(
            "aws_launch_template",
            "node",
            json!({
                "name_prefix": "${local.name}-node-",
                "vpc_security_group_ids": ["= aws_security_group.nodes.id", "= aws_eks_cluster.main.vpc_config[0].cluster_security_group_id"],
                "metadata_options {}": { "http_endpoint": "enabled", "http_tokens": "required", "http_put_response_hop_limit": 1 },
                "block_device_mappings {}": { "device_name": "/dev/xvda", "ebs {}": { "volume_type": "gp3", "volume_size": 60, "encrypted": true } },
            }),
        ),
        hcl::resource(
            "aws_eks_node_group",
            "main",
            json!({
                "cluster_name": "= aws_eks_cluster.main.name",
                "node_group_name": "main",
                "node_role_arn": "= aws_iam_role.node.arn",
                "subnet_ids": "= aws_subnet.private[*].id",
                "instance_types": "= [var.machine_type]",
                "scaling_config {}": { "desired_size": "= var.machines", "min_size": "= var.machines", "max_size": "= var.machines * 3" },
                "update_config {}": { "max_unavailable": 1 },
                "launch_template {}": { "id": "= aws_launch_template.node.id", "version": "= aws_launch_template.node.latest_version" },
                "lifecycle {}": { "ignore_changes": ["= scaling_config[0].desired_size"] },
                "depends_on": [
                    "= aws_iam_role_policy_attachment.node", "= aws_iam_role_policy_attachment.node_images", "= aws_iam_role_policy_attachment.node_network",
                ],
            }),
        ),
    ];
    for name in ["vpc-cni", "coredns", "kube-proxy", "eks-pod-identity-agent", "metrics-server", "aws-ebs-csi-driver"] {
        blocks.push(hcl::resource("aws_eks_addon", &super::cloud::label(name), json!({
            "cluster_name": "= aws_eks_cluster.main.name", "addon_name": name, "depends_on": ["= aws_eks_node_group.main"],
        })));
    }
    blocks
}
