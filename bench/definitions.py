"""One flag, 5 % of all units inside, in the format of every evaluator that is compared."""

from __future__ import annotations

from typing import Any

KEY = "deploy-retries"
PERCENT = 5

GROWTHBOOK: dict[str, Any] = {
    KEY: {
        "defaultValue": False,
        "rules": [{"force": True, "coverage": PERCENT / 100, "hashAttribute": "id"}],
    }
}

LAUNCHDARKLY: dict[str, Any] = {
    "flags": {
        KEY: {
            "key": KEY,
            "on": True,
            "version": 1,
            "salt": KEY,
            "variations": [True, False],
            "fallthrough": {
                "rollout": {
                    "variations": [
                        {"variation": 0, "weight": PERCENT * 1000},
                        {"variation": 1, "weight": 100_000 - PERCENT * 1000},
                    ]
                }
            },
        }
    }
}

UNLEASH: dict[str, Any] = {
    "version": 2,
    "features": [
        {
            "name": KEY,
            "type": "release",
            "enabled": True,
            "strategies": [
                {
                    "name": "flexibleRollout",
                    "constraints": [],
                    "parameters": {
                        "rollout": str(PERCENT),
                        "stickiness": "userId",
                        "groupId": KEY,
                    },
                }
            ],
        }
    ],
}

FLAGD: dict[str, Any] = {
    "flags": {
        KEY: {
            "state": "ENABLED",
            "variants": {"inside": True, "outside": False},
            "defaultVariant": "outside",
            "targeting": {"fractional": [["inside", PERCENT], ["outside", 100 - PERCENT]]},
        }
    }
}

EPPO: dict[str, Any] = {
    "createdAt": "2026-01-01T00:00:00Z",
    "format": "SERVER",
    "environment": {"name": "bench"},
    "flags": {
        KEY: {
            "key": KEY,
            "enabled": True,
            "variationType": "BOOLEAN",
            "variations": {"inside": {"key": "inside", "value": True}},
            "totalShards": 10_000,
            "allocations": [
                {
                    "key": "rollout",
                    "rules": [],
                    "doLog": False,
                    "splits": [
                        {
                            "variationKey": "inside",
                            "shards": [
                                {"salt": KEY, "ranges": [{"start": 0, "end": PERCENT * 100}]}
                            ],
                        }
                    ],
                }
            ],
        }
    },
}

_FLAGSMITH_FEATURE = {"key": "1", "name": KEY, "enabled": False, "value": None}
FLAGSMITH: dict[str, Any] = {
    "environment": {"key": "env", "name": "env"},
    "features": {KEY: _FLAGSMITH_FEATURE},
    "segments": {
        "1": {
            "key": "1",
            "name": "cohort",
            "rules": [
                {
                    "type": "ALL",
                    "conditions": [
                        {"operator": "PERCENTAGE_SPLIT", "property": "", "value": str(PERCENT)}
                    ],
                }
            ],
            "overrides": [_FLAGSMITH_FEATURE | {"enabled": True, "priority": 1}],
        }
    },
}

CONFIGCAT: dict[str, Any] = {
    "f": {
        KEY: {
            "t": 0,
            "v": {"b": False},
            "i": "default",
            "p": [
                {"p": PERCENT, "v": {"b": True}, "i": "inside"},
                {"p": 100 - PERCENT, "v": {"b": False}, "i": "outside"},
            ],
        }
    }
}

OPTIMIZELY: dict[str, Any] = {
    "version": "4",
    "accountId": "1",
    "projectId": "1",
    "revision": "1",
    "anonymizeIP": True,
    "botFiltering": False,
    "sendFlagDecisions": False,
    "attributes": [],
    "audiences": [],
    "typedAudiences": [],
    "events": [],
    "groups": [],
    "experiments": [],
    "variables": [],
    "featureFlags": [
        {"id": "4", "key": KEY, "rolloutId": "1", "experimentIds": [], "variables": []}
    ],
    "rollouts": [
        {
            "id": "1",
            "experiments": [
                {
                    "id": "2",
                    "key": "rule",
                    "status": "Running",
                    "layerId": "1",
                    "audienceIds": [],
                    "forcedVariations": {},
                    "trafficAllocation": [{"entityId": "3", "endOfRange": PERCENT * 100}],
                    "variations": [
                        {"id": "3", "key": "inside", "featureEnabled": True, "variables": []}
                    ],
                }
            ],
        }
    ],
}

_SPLIT_EVERYBODY = {
    "keySelector": {"trafficType": "user"},
    "matcherType": "ALL_KEYS",
    "negate": False,
}
SPLIT: dict[str, Any] = {
    "rbs": {"d": [], "s": -1, "t": 1},
    "ff": {
        "s": -1,
        "t": 1,
        "d": [
            {
                "name": KEY,
                "trafficTypeName": "user",
                "killed": False,
                "status": "ACTIVE",
                "defaultTreatment": "outside",
                "changeNumber": 1,
                "algo": 2,
                "seed": 7,
                "trafficAllocation": 100,
                "trafficAllocationSeed": 7,
                "configurations": {},
                "sets": [],
                "conditions": [
                    {
                        "conditionType": "ROLLOUT",
                        "label": "default rule",
                        "matcherGroup": {"combiner": "AND", "matchers": [_SPLIT_EVERYBODY]},
                        "partitions": [
                            {"treatment": "inside", "size": PERCENT},
                            {"treatment": "outside", "size": 100 - PERCENT},
                        ],
                    }
                ],
            }
        ],
    },
}

STATSIG: dict[str, Any] = {
    "has_updates": True,
    "time": 1,
    "company_id": "bench",
    "app_id": "bench",
    "response_format": "dcs-v2",
    "dynamic_configs": {},
    "diagnostics": {},
    "experiment_to_layer": {},
    "hashed_sdk_keys_to_app_ids": {},
    "id_lists": {},
    "layer_configs": {},
    "layers": {},
    "param_stores": {},
    "sdk_configs": {},
    "sdk_flags": {},
    "sdk_keys_to_app_ids": {},
    "condition_map": {
        "everybody": {
            "type": "public",
            "targetValue": None,
            "operator": None,
            "field": None,
            "additionalValues": {},
            "idType": "userID",
        }
    },
    "feature_gates": {
        KEY: {
            "type": "feature_gate",
            "entity": "feature_gate",
            "salt": KEY,
            "enabled": True,
            "defaultValue": False,
            "idType": "userID",
            "version": 1,
            "explicitParameters": None,
            "rules": [
                {
                    "id": "rule",
                    "name": "rule",
                    "groupName": "rule",
                    "salt": "rule",
                    "passPercentage": PERCENT,
                    "returnValue": True,
                    "idType": "userID",
                    "conditions": ["everybody"],
                }
            ],
        }
    },
}

POSTHOG: dict[str, Any] = {
    "id": 1,
    "key": KEY,
    "name": KEY,
    "active": True,
    "is_simple_flag": False,
    "filters": {"groups": [{"properties": [], "rollout_percentage": PERCENT}]},
}
