//! What the account may cost, and who is told.

use serde_json::json;

use crate::hcl::{self, Block};

/// The budget, where somebody is to be told.
pub(crate) fn budget() -> Vec<Block> {
    let notify = |threshold: u32, kind: &str| {
        json!({
            "comparison_operator": "GREATER_THAN",
            "threshold": threshold,
            "threshold_type": "PERCENTAGE",
            "notification_type": kind,
            "subscriber_email_addresses": "= compact([var.alarm_email])",
        })
    };
    vec![hcl::resource(
        "aws_budgets_budget",
        "main",
        json!({
            "count": "= var.alarm_email == \"\" ? 0 : 1",
            "name": "= local.name",
            "budget_type": "COST",
            "limit_amount": "= tostring(var.budget)",
            "limit_unit": "USD",
            "time_unit": "MONTHLY",
            "notification {}": [notify(80, "ACTUAL"), notify(100, "FORECASTED")],
        }),
    )]
}
