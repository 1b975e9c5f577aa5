"""IAM: who may do what. A role that was created here is enforced; any other role, and the account's owner, may do all.

matching.py       * and ?, and ARNs part by part
conditions.py     the Condition element
policy.py         a policy document, parsed and checked
roles.py          roles and their policies in the store
evaluation.py     the decision, and AWS's words for a refusal
enforcement.py    refuses what the caller of a context may not do
sessions.py       temporary credentials
used.py           which statements allowed which calls: shows what each statement is needed for

Which permissions a request needs is in ../permissions.py, for S3 in ../s3/permissions.py.
"""
