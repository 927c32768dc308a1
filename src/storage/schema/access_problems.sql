-- What is wrong with the role and with the table.
SELECT {{../schema/silent_problems.sql}}
