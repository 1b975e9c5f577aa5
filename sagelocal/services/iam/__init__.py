"""IAM: who may do what. A role that was created here is enforced; any other role, and the account's owner, may do all.

api.py, policies_api.py   the operations
policy.py                 a policy document, parsed and checked
matching.py               * and ?, and ARNs part by part
conditions.py             the Condition element
roles.py                  roles and their policies in the store
sessions.py               temporary credentials
permissions.py            which permissions a request needs (S3 has its own: ../s3/permissions.py)
evaluation.py             the decision on one call
enforcement.py            refuses what the caller of a context may not do, in AWS's words
used.py                   which statements allowed which calls: shows what each statement is needed for
"""
