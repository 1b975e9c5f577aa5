"""IAM: who may do what. A role that was created here is enforced; any other role, and the account's root, may do all
that no resource's policy denies.

api.py, policies_api.py   the operations
simulation_api.py         what would be allowed
policy.py                 a policy document, parsed
grammar.py, keys.py       what is refused when a policy is stored: what AWS refuses, and what is not evaluated here
matching.py               * and ?, and ARNs part by part, in linear time
conditions.py             the Condition element
roles.py                  roles and their policies in the store
sessions.py               temporary credentials
permissions.py            which permissions a request needs (S3 has its own: ../s3/permissions.py)
resource_tags.py          the tags of what a call is about
evaluation.py             the decision on one call
enforcement.py            refuses what the caller of a context may not do, in AWS's words
used.py                   which statements allowed which calls: shows what each statement is needed for
"""
