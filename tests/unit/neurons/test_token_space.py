from neurogloss.neurons.token_space import token_space_body


def test_tokens_are_shown_in_quotes_on_one_line_in_their_order():
    body = token_space_body([" cat", "\n", "\x1b[31m"])
    system, *examples, user = body["messages"]
    assert (system["role"], user["role"]) == ("system", "user")
    assert [example["role"] for example in examples] == ["user", "assistant"] * 3
    assert user["content"].splitlines()[0] == r'Tokens: " cat", "\n", "\x1b[31m"'
    assert body["max_tokens"] == 60
