// SPDX-License-Identifier: MIT
pragma solidity ^0.8.24;

/// Pays many payees of one wallet in one transaction.
///
/// P1 An id is paid at most once, for ever, whatever is sent again.
/// P2 A payout whose transfer fails moves nothing, stays unpaid and does not stop the others.
/// P3 Only the wallet that owns the contract can make it pay, and only out of that wallet.
///
/// It holds no money. It pulls by `transferFrom` what the wallet has approved, which is safer than a float of its own:
/// the money stays in one place that is reconciled as one balance, every transfer is seen to come from the wallet, there
/// is nothing to withdraw and nobody to steal from. Approve no more than the next distribution needs: the allowance, not
/// the wallet, is then what a flaw in here could cost.
contract BatchPayout {
    struct Payment {
        bytes32 id;
        address to;
        uint256 amount;
    }

    uint8 public constant FAILED = 0;
    uint8 public constant PAID = 1;
    uint8 public constant DUPLICATE = 2;

    address public immutable owner;
    address public immutable token;
    mapping(bytes32 => bool) public paid;

    event Payout(bytes32 indexed id, address indexed to, uint256 amount, uint8 outcome);

    /// Anybody may deploy it for a wallet: the key of the wallet need not sign code.
    constructor(address token_, address owner_) {
        require(token_.code.length > 0, "the token is no contract");
        require(owner_ != address(0), "no owner");
        owner = owner_;
        token = token_;
    }

    function pay(Payment[] calldata payments) external {
        require(msg.sender == owner, "not the owner"); // P3
        for (uint256 i = 0; i < payments.length; i++) {
            Payment calldata payment = payments[i];
            uint8 outcome = paid[payment.id] ? DUPLICATE : payOne(payment);
            emit Payout(payment.id, payment.to, payment.amount, outcome);
        }
    }

    function payOne(Payment calldata payment) private returns (uint8) {
        paid[payment.id] = true; // P1: before the call, so that a token that calls back finds it paid
        (bool ok, bytes memory answer) = token.call(
            abi.encodeWithSignature("transferFrom(address,address,uint256)", owner, payment.to, payment.amount)
        );
        // Tether answers nothing, others `true`; some answer `false` instead of reverting.
        if (ok && (answer.length == 0 || (answer.length >= 32 && abi.decode(answer, (uint256)) == 1))) return PAID;
        paid[payment.id] = false; // P2
        return FAILED;
    }
}
