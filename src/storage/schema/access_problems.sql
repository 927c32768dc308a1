-- What is wrong with the role and with the table.
SELECT {{../schema/row_level_security_and_table_shape.sql}}
